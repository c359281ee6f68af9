"""Attention maps of a run's networks, for generated and real images."""

import csv
import dataclasses
import io
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from sagan.discriminator import build_discriminator
from sagan.evaluation.real_images import config_split, open_real
from sagan.evaluation.runs import find_steps
from sagan.evaluation.samples import restored_generator
from sagan.latents import fixed_inputs
from sagan.layers.recorder import call_with_attention
from sagan.metrics.attention import (
    attention_statistics,
    distinct_queries,
    spread_keys,
)
from sagan.runs.attention_pictures import attention_rows, stack, with_title
from sagan.runs.checkpoints import restore_generator, restore_network
from sagan.runs.files import write_text
from sagan.runs.record import class_numbers

_BATCH_SIZE = 16
# Numbers that training logs; it has gamma already, and the rest is constant.
_LOGGED = ("change", "distance", "far", "entropy", "largest", "distinct")


@dataclasses.dataclass(frozen=True)
class BlockMaps:
    """What an attention block computed for some images.

    Attributes:
        name: Name of the network and of the block.
        maps: Attention weights, `[images, queries, keys]`, float32.
        size: Height and width of the block's features.
        pixels: Image pixels per position.
        gamma: The block's gate.
        change: Mean over images of the norm of what the block adds to its
            input, over that of the input.
    """

    name: str
    maps: np.ndarray
    size: tuple[int, int]
    pixels: int
    gamma: float
    change: float

    def statistics(self) -> dict[str, float]:
        """Returns numbers about the block by name.

        "gamma", "change" and those of `attention_statistics`.
        """
        return {
            "gamma": self.gamma,
            "change": self.change,
            **attention_statistics(self.maps, self.size, self.pixels),
        }

    def choose_queries(self, image: int, count: int) -> list[tuple[int, int]]:
        """Returns rows and columns of the queries whose maps differ most."""
        chosen = distinct_queries(self.maps[image], count)
        return [divmod(query, self.size[1]) for query in chosen]

    def position(self, row: int, column: int) -> tuple[int, int]:
        """Returns the row and column of the features under an image pixel."""
        return row // self.pixels, column // self.pixels


def attend(network, inputs, labels) -> tuple[np.ndarray, list[BlockMaps]]:
    """Runs a network for inference and collects its attention maps.

    Args:
        network: A `Generator` or a `Discriminator`.
        inputs: Latents `[n, latent_dim]` or images, as the network takes them.
        labels: `[n]`, integer.

    Returns:
        What the network returns, and the maps of its blocks in call order.
    """
    outputs, batches = [], []
    for i in range(0, len(inputs), _BATCH_SIZE):
        rows = slice(i, i + _BATCH_SIZE)
        output, attended = call_with_attention(
            network, inputs[rows], labels[rows]
        )
        outputs.append(output.numpy())
        batches.append(attended)
    layers = {layer.name: layer for layer in network.attentions}
    blocks = []
    for name, first in batches[0].items():
        maps, change = (
            np.concatenate([getattr(b[name], part).numpy() for b in batches])
            for part in ("map", "change")
        )
        blocks.append(
            BlockMaps(
                f"{network.name}/{name}",
                maps,
                first.size,
                network.image_shape[0] // first.size[0],
                float(layers[name].gamma.numpy()),
                float(change.mean()),
            )
        )
    return np.concatenate(outputs), blocks


@dataclasses.dataclass(frozen=True)
class Looks:
    """Where the networks of one checkpoint look.

    Attributes:
        step: Step of the checkpoint.
        parts: Images, and the maps of a network's blocks for them, by what the
            images are: "generated" or "real".
    """

    step: int
    parts: list[tuple[str, np.ndarray, list[BlockMaps]]]

    def numbers(self) -> list[dict[str, object]]:
        """Returns a row per block and kind of images."""
        return [
            {
                "step": self.step,
                "images": kind,
                "block": block.name,
                **block.statistics(),
            }
            for kind, _, blocks in self.parts
            for block in blocks
        ]

    def scalars(self) -> dict[str, float]:
        """Returns the numbers for generated images that training changes."""
        return {
            f"attention/{row['block']}/{name}": float(value)
            for row in self.numbers()
            if row["images"] == "generated"
            for name, value in row.items()
            if name in _LOGGED
        }


def look(generator, discriminator, step: int, inputs, real=None) -> Looks:
    """Collects the maps of both networks for the same images.

    Networks without attention are left out.

    Args:
        generator: A `Generator`.
        discriminator: A `Discriminator`.
        step: Step of their checkpoint.
        inputs: Latents and labels, as of `fixed_inputs`.
        real: Real images, float in [-1, 1], and labels, which the discriminator
            sees as well; None for none.

    Raises:
        ValueError: If neither has self-attention.
    """
    images, blocks = attend(generator, *inputs)
    blocks += attend(discriminator, images, inputs[1])[1]
    parts = [("generated", images, blocks)]
    if real is not None:
        parts.append(("real", real[0], attend(discriminator, *real)[1]))
    if not parts[0][2]:
        raise ValueError(
            "Neither network of this run has self-attention to show: see "
            "attention and attention_resolutions of build_generator and "
            "build_discriminator."
        )
    return Looks(step, parts)


def picture_of_run(
    workdir,
    data_dir: str | None,
    num_images: int,
    classes: Sequence[str],
    seed: int,
    step: str,
    ema: bool,
    real: bool,
    query: Sequence[str],
    num_queries: int,
    smooth: bool,
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Draws the attention maps of a run, whose config is parsed already.

    Args:
        workdir: Folder of the run.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        num_images: Number of images.
        classes: Classes of the generated images, by name or number, repeated
            as needed; empty for all.
        seed: Seed for the latents.
        step: "all", "last", "best" or a step.
        ema: Whether to take the moving average of the generator's weights.
        real: Whether the discriminator sees real images too.
        query: "ROW,COLUMN" of each query, in pixels of the image; empty to
            choose those whose maps differ most, in every image and block.
        num_queries: Number of queries to choose.
        smooth: As for `attention_rows`.

    Returns:
        The picture, `[height, width, 3]` uint8, and the rows of
        `Looks.numbers`, by step.

    Raises:
        ValueError: If there is no such checkpoint, class or pixel, or no
            attention.
    """
    folder, steps = find_steps(workdir, step)
    generator, _, _ = restored_generator(
        workdir, steps[-1], ema, folder.name, mode="eager"
    )
    discriminator = build_discriminator()
    points = [_parse_point(text, generator.image_shape[0]) for text in query]
    numbers = class_numbers(workdir, classes, generator.num_classes)
    inputs = fixed_inputs(generator, num_images, seed, 1, numbers)
    seen = _real_images(num_images, data_dir) if real else None
    pictures, rows = [], []
    for number in steps:
        restore_generator(folder, generator, number, ema)
        restore_network(folder, discriminator, "discriminator", number)
        looks = look(generator, discriminator, number, inputs, seen)
        pictures.append(draw(looks, points, num_queries, smooth))
        rows += looks.numbers()
    return stack(pictures), rows


def _parse_point(text, side):
    row, _, column = text.partition(",")
    if not all(x.strip().isdecimal() and int(x) < side for x in (row, column)):
        raise ValueError(
            f"--query is {text!r}: expected ROW,COLUMN of a pixel, such as "
            f"8,{side // 2}, each from 0 to {side - 1}."
        )
    return int(row), int(column)


def _real_images(number, data_dir):
    """Returns the first real images of the training split, and labels."""
    dataset = open_real(config_split(), data_dir)
    batches = dataset.one_pass().unbatch().batch(number).as_numpy_iterator()
    return next(dataset.checked(batches))


def draw(
    looks: Looks,
    points: Sequence[tuple[int, int]] = (),
    num_queries: int = 4,
    smooth: bool = False,
) -> np.ndarray:
    """Draws the maps of some queries of every image and block.

    Args:
        looks: What a checkpoint looks at.
        points: Row and column of the queries, in pixels of the image; empty to
            choose those whose maps differ most, in every image and block.
        num_queries: Number of queries to choose.
        smooth: As for `attention_rows`.

    Returns:
        `[height, width, 3]`, uint8.
    """
    return stack(
        [
            with_title(
                _draw_block(images, block, points, num_queries, smooth),
                f"Step {looks.step}, {block.name}, {kind} images: "
                f"{_describe(block.statistics())}",
            )
            for kind, images, blocks in looks.parts
            for block in blocks
        ]
    )


def _draw_block(images, block, points, num_queries, smooth):
    queries, maps = [], []
    for i, attention in enumerate(block.maps):
        chosen = [block.position(*point) for point in points]
        chosen = chosen or block.choose_queries(i, num_queries)
        rows = [row * block.size[1] + column for row, column in chosen]
        queries.append(chosen)
        maps.append(spread_keys(attention[rows], block.size))
    return attention_rows(images, maps, queries, block.size, smooth)


def _describe(values):
    return (
        f"gamma {values['gamma']:.3f}, changes its input by "
        f"{values['change']:.1%}, entropy {values['entropy']:.2f} of "
        f"{values['entropy_uniform']:.2f} bits, distance "
        f"{values['distance']:.1f} px (uniform "
        f"{values['distance_uniform']:.1f}), {values['distinct']:.1f} of "
        f"{values['keys']} keys"
    )


def write_numbers(path, rows: Sequence[dict[str, object]], **settings) -> None:
    """Writes the numbers as JSON, with settings, and as CSV.

    Args:
        path: Name of the files, whose suffix is replaced.
        rows: Rows of `Looks.numbers`.
        **settings: Values for the JSON file.
    """
    path = pathlib.Path(path)
    values = settings | {"blocks": rows}
    write_text(path.with_suffix(".json"), json.dumps(values, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path.with_suffix(".csv"), text.getvalue())
