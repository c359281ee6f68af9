"""Grids of images in PNG files."""

import io
import pathlib

import numpy as np
from PIL import Image

from sagan.latents import fixed_inputs, generate
from sagan.runs.files import whole_file


def to_uint8(images):
    """Maps [-1, 1] to 0..255 by rounding, clipping what lies outside."""
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)


def make_grid(images, columns=8, gap=2):
    """Lays images out in rows on white.

    Args:
        images: `[n, height, width, channels]`, float in [-1, 1].
        columns: Images in a row; the last row may be shorter.
        gap: Pixels between images.

    Returns:
        `[height', width', channels]`, uint8.
    """
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    grid = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels),
        255,
        np.uint8,
    )
    for i, image in enumerate(to_uint8(images)):
        top = i // columns * (height + gap)
        left = i % columns * (width + gap)
        grid[top : top + height, left : left + width] = image
    return grid


def grid_shape(
    num_images: int | None, columns: int | None, num_rows: int
) -> tuple[int, int]:
    """Returns the number of images and of columns of a grid.

    Args:
        num_images: Number of images; None for up to 64 in whole rows.
        columns: Images in a row; None for as many, up to 8, as let each of
            `num_rows` have a row.
        num_rows: Rows that differ: classes.
    """
    columns = columns or min(8, max(1, (num_images or 64) // num_rows))
    return num_images or max(1, 64 // columns) * columns, columns


def prepare_png(path) -> pathlib.Path:
    """Creates the folder of a PNG file to be written.

    Raises:
        ValueError: If the name does not end in .png or cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise ValueError(f"{path} must be the name of a .png file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}.") from error
    return path


def to_png(pixels) -> bytes:
    """Returns `[height, width, 1 or 3]` uint8 as a PNG, made quickly."""
    data = io.BytesIO()
    _to_pillow(pixels).save(data, "PNG", compress_level=1)
    return data.getvalue()


def save_png(path, pixels):
    """Writes `[height, width, 1 or 3]` uint8 as PNG, atomically.

    Raises:
        ValueError: See `prepare_png`.
    """
    with whole_file(prepare_png(path)) as partial:
        _to_pillow(pixels).save(partial, format="PNG")


def save_animation(path, images, milliseconds: int):
    """Writes images as an endless animated PNG, atomically.

    Viewers that know no animation show the first image.

    Args:
        path: PNG file.
        images: `[n, height, width, channels]`, float in [-1, 1].
        milliseconds: Time that each is shown.

    Raises:
        ValueError: See `prepare_png`.
    """
    first, *others = (_to_pillow(image) for image in to_uint8(images))
    with whole_file(prepare_png(path)) as partial:
        first.save(
            partial,
            format="PNG",
            save_all=True,
            append_images=others,
            duration=milliseconds,
            loop=0,
        )


def _to_pillow(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


class SampleGrids:
    """Draws the same latents again and again during training.

    Args:
        folder: Folder of the grids.
        generators: The generators to draw with, by the name of their grids.
        num_samples: Images in a grid.
        score: Function from images to numbers by name, or None.
    """

    def __init__(self, folder, generators, num_samples, score=None):
        self.folder = pathlib.Path(folder)
        self.generators = generators
        self.num_samples = num_samples
        self.score = score

    def save(self, step, log):
        """Writes each generator's grid, to `folder` and to the `RunLog`."""
        for name, generator in self.generators.items():
            inputs = fixed_inputs(generator, self.num_samples)
            grid = make_grid(generate(generator, *inputs))
            save_png(self.folder / f"step_{step:08d}_{name}.png", grid)
            log.image(step, f"samples_{name}", grid)

    def scores(self):
        """Returns what `score` says of 512 samples of each generator.

        By name, such as `score/agreement_ema`; empty without a `score`.
        """
        values = {}
        for name, generator in self.generators.items() if self.score else ():
            images = generate(generator, *fixed_inputs(generator, 512, seed=1))
            for key, value in self.score(images).items():
                values[f"score/{key}_{name}"] = value
        return values

    def save_real(self, dataset):
        """Writes, once, real images as the discriminator sees them."""
        path = self.folder / "real.png"
        if path.exists():
            return
        count = -(-self.num_samples // dataset.batch_size)
        batches = [
            images.numpy()
            for images, _ in dataset.checked(dataset.batches().take(count))
        ]
        images = np.concatenate(batches)[: self.num_samples]
        save_png(path, make_grid(images))
