"""The report of a run's attention: a picture, and its numbers as files."""

import csv
import io
import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from sagan.data.batches import first_examples
from sagan.discriminator import build_discriminator
from sagan.evaluation.attention import Looks, look
from sagan.evaluation.real_images import config_split, open_real
from sagan.evaluation.runs import find_steps
from sagan.evaluation.samples import restored_generator
from sagan.latents import fixed_inputs
from sagan.metrics.attention import spread_keys
from sagan.runs.attention_pictures import attention_rows, with_title
from sagan.runs.checkpoints import restore_generator, restore_network
from sagan.runs.files import write_text
from sagan.runs.picture_layout import stack
from sagan.runs.record import class_numbers


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
            choose those whose maps differ most, in every image and block, at
            the last of the steps.
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
    drawn, chooser = [], None
    for number in reversed(steps):
        restore_generator(folder, generator, number, ema)
        restore_network(folder, discriminator, "discriminator", number)
        looks = look(generator, discriminator, number, inputs, seen)
        chooser = chooser or looks
        picture = draw(looks, points, num_queries, smooth, chooser)
        drawn.append((picture, looks.numbers()))
    pictures, rows = zip(*reversed(drawn), strict=True)
    return stack(pictures), list(itertools.chain(*rows))


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
    batches = dataset.one_pass().as_numpy_iterator()
    return first_examples(dataset.checked(batches), number)


def draw(
    looks: Looks,
    points: Sequence[tuple[int, int]] = (),
    num_queries: int = 4,
    smooth: bool = False,
    chooser: Looks | None = None,
) -> np.ndarray:
    """Draws the maps of some queries of every image and block.

    Args:
        looks: What a checkpoint looks at.
        points: Row and column of the queries, in pixels of the image; empty to
            choose those whose maps differ most, in every image and block.
        num_queries: Number of queries to choose.
        smooth: As for `attention_rows`.
        chooser: What another checkpoint looks at in the same images, if its
            maps are to choose the queries; None for those drawn.

    Returns:
        `[height, width, 3]`, uint8.
    """
    pairs = zip(looks.parts, (chooser or looks).parts, strict=True)
    return stack(
        [
            with_title(
                _draw_block(
                    images, block, points, choosing, num_queries, smooth
                ),
                f"Step {looks.step}, {block.name}, {kind} images: "
                f"{_describe(block.statistics)}",
            )
            for (kind, images, blocks), (_, _, others) in pairs
            for block, choosing in zip(blocks, others, strict=True)
        ]
    )


def _draw_block(images, block, points, choosing, num_queries, smooth):
    queries, maps = [], []
    for i, attention in enumerate(block.maps):
        chosen = [block.position(*point) for point in points]
        chosen = chosen or choosing.choose_queries(i, num_queries)
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
