"""Pictures of attention maps: where a point of an image looks."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagan.runs.picture_layout import GAP, as_rgb, beside, enlarge
from sagan.runs.sample_grids import to_uint8

# Colours of the queries, told apart by most colour-blind readers.
# Source: Okabe and Ito (2008), "Color universal design".
COLOURS = np.array(
    [
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (213, 94, 0),
        (204, 121, 167),
        (0, 114, 178),
    ],
    np.uint8,
)
# Images are magnified to about so many pixels.
_SIDE = 128
# Relative to the largest weight, so that the image shows through.
_OPACITY = 0.85
_TITLE = 18


def attention_rows(
    images: np.ndarray,
    maps: np.ndarray,
    queries: Sequence[Sequence[tuple[int, int]]],
    size: tuple[int, int],
    smooth: bool = False,
) -> np.ndarray:
    """Draws, for each image, the image with its queries, and a map for each.

    A query is a frame around its position in the image; its map is that colour
    over the darkened image, in proportion to the weight, the largest weight of
    the map having an opacity of 0.85.

    Args:
        images: `[n, height, width, channels]`, float in [-1, 1].
        maps: Weights of every position for every query of every image, `[n,
            queries, rows, columns]`.
        queries: Row and column of each query, by image.
        size: Rows and columns of positions.
        smooth: Whether maps are interpolated; otherwise each position is a
            rectangle of one colour.

    Returns:
        `[height', width', 3]`, uint8.
    """
    rows = []
    for image, attention, points in zip(images, maps, queries, strict=True):
        large = enlarge(as_rgb(to_uint8(image)), _SIDE)
        cell = np.array(large.shape[:2]) // size
        marked = large.copy()
        tiles = [marked]
        for i, (point, weights) in enumerate(
            zip(points, attention, strict=True)
        ):
            colour = COLOURS[i % len(COLOURS)]
            _frame(marked, np.multiply(point, cell), cell, colour)
            tile = _overlay(large, weights, colour, smooth)
            _frame(tile, np.multiply(point, cell), cell, (255, 255, 255))
            tiles.append(tile)
        rows.append(beside(tiles, axis=1))
    return beside(rows, axis=0)


def with_title(pixels: np.ndarray, title: str) -> np.ndarray:
    """Writes a line of text above a picture, `[height, width, 3]` uint8."""
    font = ImageFont.load_default(13)
    width = max(pixels.shape[1], int(font.getlength(title)) + 2 * GAP)
    canvas = Image.new("RGB", (width, pixels.shape[0] + _TITLE), "white")
    canvas.paste(Image.fromarray(pixels), (0, _TITLE))
    ImageDraw.Draw(canvas).text((GAP, 0), title, "black", font)
    return np.asarray(canvas)


def _overlay(image, weights, colour, smooth):
    height, width = image.shape[:2]
    # Nearest, unless asked: smoothing shows detail that the map lacks.
    method = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    opacity = Image.fromarray((weights / weights.max()).astype(np.float32))
    opacity = np.asarray(opacity.resize((width, height), method))
    opacity = _OPACITY * np.clip(opacity, 0.0, 1.0)[..., None]
    grey = 0.5 * image.mean(-1, keepdims=True)
    return np.rint(grey + opacity * (colour - grey)).astype(np.uint8)


def _frame(pixels, corner, cell, colour):
    """Draws the outline of a cell, outside of it where there is room."""
    top, left = np.maximum(corner - 2, 0)
    bottom, right = np.minimum(corner + cell + 2, pixels.shape[:2])
    inside = pixels[
        corner[0] : corner[0] + cell[0], corner[1] : corner[1] + cell[1]
    ]
    kept = inside.copy()
    pixels[top:bottom, left:right] = colour
    inside[:] = kept
