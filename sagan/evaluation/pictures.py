"""Pictures of a run's samples: grids, paths between them, their neighbours."""

import dataclasses

from absl import logging

from sagan.distributed.replicas import run_on_replicas
from sagan.evaluation.neighbours import nearest_images, open_searched
from sagan.evaluation.runs import find_step
from sagan.evaluation.samples import restored_generator, use_standing_moments
from sagan.latents import closed_path, fixed_inputs, generate
from sagan.runs.record import class_numbers
from sagan.runs.sample_grids import (
    grid_shape,
    make_grid,
    prepare_png,
    save_animation,
    save_png,
)

_MILLISECONDS = 80  # Of a frame of an animation.
_WITH_NEIGHBOURS = 16  # Samples beside which to show them.


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a picture of samples shows, and of which weights.

    Attributes:
        num_images: Number of images; None for 16 with neighbours, else for up
            to 64 in whole rows.
        columns: Images in a row; None for as many, up to 8, as let every class
            have a row.
        classes: Classes of the rows, by name or number; empty for all.
        seed: Seed for the latents.
        truncation: As for `sagan.latents.truncate`, or None.
        step: "last", "best" or a step.
        ema: Whether to take the moving average of the weights.
        statistics: "moving" or "standing" moments of batch norm.
        interpolate: Whether images walk from the first of each row to that of
            the next, for a strip and an animation.
        neighbours: Number of nearest real images to show beside each sample.
    """

    num_images: int | None = None
    columns: int | None = None
    classes: tuple[str, ...] = ()
    seed: int = 0
    truncation: float | None = None
    step: str = "last"
    ema: bool = True
    statistics: str = "moving"
    interpolate: bool = False
    neighbours: int = 0

    def __post_init__(self):
        if self.truncation is not None and not self.truncation > 0:
            raise ValueError(
                f"--truncation is {self.truncation}: expected a number above 0."
            )
        if self.interpolate and self.neighbours:
            raise ValueError(
                "--interpolate and --neighbours are two pictures: expected "
                "one of them. Draw the other into another file."
            )
        if self.neighbours and self.columns not in (None, 1):
            raise ValueError(
                f"--columns is {self.columns}: with --neighbours, expected "
                "none, as a row is a sample and its neighbours."
            )


def draw(workdir, out, data_dir, drawing: Drawing) -> str:
    """Draws samples of a run, whose config is parsed already, into a PNG.

    Args:
        workdir: Folder of the run.
        out: PNG file to write. The animation of `interpolate` is beside it,
            with `_animated` in its name.
        data_dir: Folder of TFDS datasets, for `neighbours`.
        drawing: What to draw.

    Returns:
        A description of the picture.

    Raises:
        ValueError: If there is no such checkpoint or class, or the picture
            cannot be drawn or written.
    """
    out = prepare_png(out)
    folder, step = find_step(workdir, drawing.step)
    # Before the checkpoint: data or features may be missing.
    real = open_searched(data_dir) if drawing.neighbours else None
    generator, strategy, step = restored_generator(
        workdir, step, drawing.ema, folder.name, mode="eager"
    )
    if drawing.statistics == "standing":
        use_standing_moments(
            generator, drawing.seed, truncation=drawing.truncation
        )
    call = run_on_replicas(generator, strategy)
    classes = class_numbers(workdir, drawing.classes, generator.num_classes)
    num_rows = len(classes) or generator.num_classes or 1
    number, columns = drawing.num_images, drawing.columns
    if drawing.neighbours:
        number, columns = number or _WITH_NEIGHBOURS, 1
    number, columns = grid_shape(number, columns, num_rows)
    if number < num_rows:
        shown = -(-number // columns)
        logging.warning(
            "%d images show %d of %d classes: give --classes or --num_images.",
            *(number, shown, num_rows),
        )
    inputs = fixed_inputs(
        *(generator, number, drawing.seed, columns, classes),
        truncation=drawing.truncation,
    )
    if drawing.interpolate:
        what = _draw_path(out, call, generator, inputs, columns)
    elif real:
        images = generate(call, *inputs)
        what = _draw_neighbours(out, images, *real, drawing.neighbours)
    else:
        save_png(out, make_grid(generate(call, *inputs), columns))
        what = f"{number} images"
    weights = "averaged" if drawing.ema else "raw"
    return f"Wrote {out}: {what} of step {step}, {weights} weights."


def _draw_path(out, call, generator, inputs, columns):
    """Writes a path through the first image of each row: strip, animation."""
    latents, labels = (x[::columns] for x in inputs)
    if len(latents) < 2 or columns < 2:
        raise ValueError(
            "--interpolate walks from row to row, a column a step: expected "
            f"two or more of both, not {len(latents)} and {columns}. Give a "
            "larger --num_images, or --columns."
        )
    path = closed_path(latents, labels, generator.num_classes, columns)
    images = generate(call, *path)
    save_png(out, make_grid(images, columns))
    animated = out.with_stem(f"{out.stem}_animated")
    save_animation(animated, images, _MILLISECONDS)
    return f"a path through {len(latents)} images, also as {animated},"


def _draw_neighbours(out, images, network, dataset, count):
    """Writes samples, each with its nearest real images on the right."""
    neighbours = nearest_images(network, dataset, images, count)
    save_png(out, neighbours.picture(images))
    return (
        f"{len(images)} images with their {count} nearest real ones by "
        f"{network.name} ({neighbours})"
    )
