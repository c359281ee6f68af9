"""Feature maps of any layer of a run's networks, for some images."""

import difflib
from collections.abc import Sequence

import numpy as np

from sagan.data.image_files import read_image
from sagan.data.preprocessing import prepare_image, to_unit_range
from sagan.discriminator import build_discriminator
from sagan.evaluation.runs import find_step
from sagan.evaluation.samples import restored_generator
from sagan.latents import fixed_inputs
from sagan.layers.initialization import layer_paths
from sagan.layers.recorder import wrapped
from sagan.runs.checkpoints import restore_network
from sagan.runs.feature_pictures import draw_channels
from sagan.runs.picture_layout import stack
from sagan.runs.record import class_numbers


def feature_maps(
    network, name: str, inputs, labels
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Calls a network for inference and records one of its layers.

    Args:
        network: A `Generator` or a `Discriminator`.
        name: Where the network holds the layer, as "blocks[0].conv1": the name
            that `sagan.summary` prints.
        inputs: Latents or images, as the network takes them.
        labels: `[n]`, integer.

    Returns:
        The layer's inputs and its outputs, `[n, height, width, channels]`,
        float32, and what the network returns.

    Raises:
        ValueError: If there is no such layer, it has no maps, or it is not
            called.
    """
    layers = layer_paths(network)
    if name not in layers:
        nearest = difflib.get_close_matches(name, layers, n=1, cutoff=0.0)
        raise ValueError(
            f"Unknown layer {name!r} of the {network.name}. Did you mean "
            f"{nearest[0]!r}? There are {', '.join(layers)}."
        )
    seen = []

    def record(layer, call, features, *args, elementwise=None, **kwargs):
        outputs = call(features, *args, **kwargs)
        seen.extend((features, outputs))
        return elementwise.relu(outputs) if elementwise else outputs

    with wrapped([layers[name]], "call", record):
        returned = network(inputs, labels, training=False)
    if not seen:
        raise ValueError(
            f"The {network.name} does not call {name}: another layer computes "
            "with its weights. f, g and h of attention are called with "
            f"build_{network.name}.fused_fgh = False."
        )
    if any(features.shape.rank != 4 for features in seen):
        raise ValueError(
            f"Layer {name} of the {network.name} maps {seen[0].shape} to "
            f"{seen[1].shape}: expected one between features with positions, "
            "[batch, height, width, channels]."
        )
    maps = (np.asarray(features, np.float32) for features in seen)
    return *maps, returned.numpy()


def picture_of_layer(
    workdir,
    network: str,
    layer: str,
    num_images: int,
    num_channels: int,
    classes: Sequence[str],
    seed: int,
    step: str,
    ema: bool,
    image: str | None = None,
) -> np.ndarray:
    """Draws what goes into and comes out of a layer, by channels.

    The config of the run is parsed already.

    Args:
        workdir: Folder of the run.
        network: "generator", or "discriminator" for that of generated images
            or of a given one.
        layer: As `name` of `feature_maps`.
        num_images: Number of generated images.
        num_channels: How many channels to draw, those with most energy.
        classes: Classes of the images, by name or number; empty for all.
        seed: Seed for the latents.
        step: "last", "best" or a step.
        ema: Whether to take the moving average of the generator's weights.
        image: Image file that the discriminator sees alone, its centre square
            resized, in place of generated images.

    Returns:
        The picture, `[height, width, 3]`, uint8.

    Raises:
        ValueError: As `feature_maps`, or if there is no such checkpoint, class
            or image.
    """
    if image and network != "discriminator":
        raise ValueError(
            f"--image is {image}, but a generator takes latents: give "
            "--network=discriminator as well."
        )
    folder, number = find_step(workdir, step)
    generator, _, _ = restored_generator(
        workdir, number, ema, folder.name, mode="eager"
    )
    numbers = class_numbers(workdir, classes, generator.num_classes)
    latents, labels = fixed_inputs(generator, num_images, seed, 1, numbers)
    if network == "generator":
        before, after, images = feature_maps(generator, layer, latents, labels)
    else:
        discriminator = build_discriminator()
        restore_network(folder, discriminator, "discriminator", number)
        if image:
            images, labels = _read_given(image, discriminator), labels[:1]
        else:
            images = generator(latents, labels).numpy()
        before, after, _ = feature_maps(discriminator, layer, images, labels)
    where = f"{network} {layer}, step {number}"
    return stack(
        [
            draw_channels(
                f"{what} of {where}, {'x'.join(map(str, maps.shape[1:]))}",
                images,
                maps,
                num_channels,
            )
            for what, maps in (("Input", before), ("Output", after))
        ]
    )


def _read_given(path, discriminator):
    """Returns an image file as the discriminator takes it, `[1, ...]`."""
    size, _, channels = discriminator.image_shape
    try:
        image = read_image(path)
    # Pillow's decoders raise many types on broken files.
    except Exception as error:
        raise ValueError(
            f"--image={path} cannot be read as an image ({error}): expected a "
            "PNG, JPEG, BMP, GIF or WebP file."
        ) from error
    image = prepare_image(image, size, channels=channels)
    return to_unit_range(image)[None].numpy()
