"""The generator of a run as a `Program`."""

import tensorflow as tf

from sagan.evaluation.runs import find_step
from sagan.evaluation.samples import restored_generator, use_standing_moments
from sagan.exporting.program import (
    Options,
    Program,
    call_in_batches,
    recorded_config,
)
from sagan.latents import fixed_inputs
from sagan.layers.recorder import call_with_attention, self_attentions
from sagan.layers.spectral_norm import kernel_layers
from sagan.runs.record import class_numbers, last_data, parse_recorded_config
from sagan.runs.sample_grids import to_uint8

# The same function of the same weights, however the run computes it: in
# float32, by one device, with whole attention maps instead of a loop over
# blocks of queries.
PLAIN = (
    "build_generator.precision = 'float32'",
    "build_generator.query_block = 0",
    "train.strategy = 'none'",
    "train.tensor_float_32 = False",
)
# Examples of each class, and of all: fewer of each if there are many classes.
_PER_CLASS, _EXAMPLES = 8, 256
# Inputs for the ranges of activations.
_CALIBRATION = 128
_BATCH_SIZE = 32


def open_generator(workdir, bindings, options: Options) -> Program:
    """Restores the generator of a run.

    Args:
        workdir: Folder of the run.
        bindings: Override its config, as in `sagan.config.parse_config`.
        options: What to export.

    Raises:
        ValueError: If there is no such run, checkpoint, class or output.
    """
    parse_recorded_config(workdir, [*bindings, *PLAIN])
    generator, step = restore_for_export(
        workdir, options.step, options.ema, options.statistics, mode="eager"
    )
    label = None
    if options.label is not None:
        classes = [options.label]
        (label,) = class_numbers(workdir, classes, generator.num_classes)
    record = {
        "network": "generator",
        "step": step,
        "weights": "ema" if options.ema else "raw",
        "statistics": options.statistics,
        "classes": (last_data(workdir) or {}).get("classes", []),
        "class": label,
        **recorded_config(workdir, bindings),
    }
    return generator_program(generator, options, label, record)


def restore_for_export(
    workdir, step: str, ema: bool, statistics: str, mode: str
):
    """Restores the generator of a run, whose config is parsed already.

    Args:
        workdir: Folder of the run.
        step: "last", "best" or a step.
        ema: Whether to take the moving average of the weights.
        statistics: "moving" or "standing" moments of batch norm.
        mode: As for `restored_generator`.

    Returns:
        The `Generator` and its step.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    folder, number = find_step(workdir, step)
    generator, _, number = restored_generator(
        workdir, number, ema, folder.name, mode=mode
    )
    if statistics == "standing":
        use_standing_moments(generator, seed=0)
    return generator, number


def generator_program(
    generator, options: Options, label: int | None, record
) -> Program:
    """Returns a generator as a `Program`; its spectral norm is folded.

    Args:
        generator: A `Generator` that computes in float32.
        options: What to export of it; those of the checkpoint are not used.
        label: The only class; None for labels as an input, if it has classes.
        record: Where it comes from, as JSON values.

    Raises:
        ValueError: If it has no attention whose maps it could return.
    """
    blocks = _attention_blocks(generator) if options.attention else []

    def call(latents, labels=None):
        if labels is None:
            labels = tf.fill([tf.shape(latents)[0]], label or 0)
        images, attended = call_with_attention(generator, latents, labels)
        return {"images": images} | {
            name: attended[name].map for name in blocks
        }

    def compute(**inputs):
        outputs = call(**inputs)
        if options.pixels == "uint8":
            outputs["images"] = _to_uint8(outputs["images"])
        return outputs

    classes = max(1, generator.num_classes) if label is None else 1
    if blocks:  # A thousand maps would take gigabytes.
        classes = min(classes, _EXAMPLES)
    each = max(1, min(_PER_CLASS, _EXAMPLES // classes))
    examples = _draw_inputs(generator, label, classes * each, each, seed=0)
    # At least one of each class that has an example.
    number = max(_CALIBRATION, classes)
    calibration = _draw_inputs(generator, label, number, 1, seed=1)
    expected = call_in_batches(
        lambda inputs: call(**inputs), examples, _BATCH_SIZE
    )
    if options.pixels == "uint8":
        expected["images"] = to_uint8(expected["images"])
    fold_spectral_norm(generator)
    return Program(
        compute,
        options.batch,
        examples,
        expected=expected,
        calibration=calibration,
        meanings=_meanings(generator, options.pixels, expected),
        record=record,
    )


def _attention_blocks(generator):
    """Returns the names of the blocks that have maps."""
    names = [layer.name for layer in self_attentions(generator)]
    if not names:
        raise ValueError(
            "The generator of this run has no self-attention, so it has no "
            "maps to return: export it without --attention."
        )
    return names


def _draw_inputs(generator, label, number, each, seed):
    """Draws latents, and labels if they are an input, `each` times in turn."""
    latents, labels = fixed_inputs(generator, number, seed, each)
    inputs = {"latents": latents.numpy(), "labels": labels.numpy()}
    if label is not None or not generator.num_classes:
        del inputs["labels"]
    return inputs


def fold_spectral_norm(network) -> None:
    """Replaces kernels by what is left of them after spectral norm."""
    for layer in kernel_layers(network):
        layer.kernel.assign(layer.effective_kernel())
        layer.spectral_norm = False


def _to_uint8(images):
    """Does in TensorFlow what `to_uint8` does in NumPy."""
    # LiteRT gives a sum the range of its product in 8 bits: product first.
    levels = tf.round(images * 127.5 + 127.5)
    return tf.cast(tf.clip_by_value(levels, 0.0, 255.0), tf.uint8)


def _meanings(generator, pixels, outputs):
    """Returns what the values of inputs and outputs mean, by name."""
    images = {"float32": "-1 is black, 1 white", "uint8": "0 to 255"}[pixels]
    last = generator.num_classes - 1
    meanings = {
        "latents": "independent, standard normal",
        "labels": f"number of the class, 0 to {last}",
        "images": f"rows, columns, channels (RGB or grey); {images}",
    }
    for name in outputs.keys() - meanings.keys():
        side = name.removeprefix("attention_")
        queries, keys = outputs[name].shape[1:]
        meanings[name] = (
            f"weight of each of {keys} keys for each of {queries} queries, "
            f"which are {side}x{side} positions, row by row; a query's sum to 1"
        )
    return meanings
