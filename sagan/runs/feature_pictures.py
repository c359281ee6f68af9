"""Pictures of a layer's feature maps, the strongest channels first."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.runs.picture_layout import GAP, as_rgb, enlarge
from sagan.runs.sample_grids import to_uint8

# Images and maps are magnified to about so many pixels.
_SIDE = 64
_LINE = 14
_POSITIVE = np.array([178, 24, 43])
_NEGATIVE = np.array([33, 102, 172])


def channel_energies(maps: np.ndarray) -> np.ndarray:
    """Returns each channel's share of the sum of squares of all.

    Args:
        maps: `[n, height, width, channels]`, float.

    Returns:
        `[channels]`, float64, of sum 1, or zeros if all maps are zero.
    """
    squares = np.square(np.float64(maps)).sum(axis=(0, 1, 2))
    return squares / max(squares.sum(), np.finfo(np.float64).tiny)


def colour(values: np.ndarray) -> np.ndarray:
    """Maps values to colours: zero white, positive red, negative blue.

    Args:
        values: `[height, width]`, float in [-1, 1].

    Returns:
        `[height, width, 3]`, uint8.
    """
    values = np.float64(values)[..., None]
    target = np.where(values > 0, _POSITIVE, _NEGATIVE)
    return np.rint(255 + np.abs(values) * (target - 255)).astype(np.uint8)


def draw_channels(
    title: str, images: np.ndarray, maps: np.ndarray, count: int
) -> np.ndarray:
    """Draws the channels with most energy, a row for each image.

    A row begins with the image. Above each column are the channel's number and
    its share of the energy. All maps of a channel have one scale, from minus to
    plus its largest magnitude.

    Args:
        title: Text of the first line, before that about the energy.
        images: `[n, size, size, 1 or 3]`, float in [-1, 1].
        maps: `[n, height, width, channels]`, float.
        count: Number of channels to draw; fewer if there are fewer.

    Returns:
        `[height', width', 3]`, uint8.
    """
    energies = channel_energies(maps)
    # Stable, so that channels without any are in order of their numbers.
    chosen = np.argsort(-energies, kind="stable")[:count]
    title += (
        f": {len(chosen)} of {len(energies)} channels, "
        f"{energies[chosen].sum():.0%} of the energy"
    )
    font = ImageFont.load_default(11)
    cell = max(_SIDE, *maps.shape[1:3], *images.shape[1:3]) + GAP
    width = max(cell * (1 + len(chosen)), int(font.getlength(title)) + GAP)
    height = 2 * _LINE + cell * len(images)
    canvas = Image.new("RGB", (width, height), "white")
    write = ImageDraw.Draw(canvas).text

    def paste(pixels, row, column):
        tile = Image.fromarray(enlarge(pixels, _SIDE))
        canvas.paste(tile, (column * cell, 2 * _LINE + row * cell))

    write((0, 0), title, "black", font)
    for column, channel in enumerate(chosen, 1):
        text = f"{channel}: {energies[channel]:.1%}"
        write((column * cell, _LINE), text, "black", font)
        largest = np.abs(maps[..., channel]).max() or 1.0
        for row, features in enumerate(maps[..., channel]):
            paste(colour(features / largest), row, column)
    for row, image in enumerate(to_uint8(images)):
        paste(as_rgb(image), row, 0)
    return np.asarray(canvas)
