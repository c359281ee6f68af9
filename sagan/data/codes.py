"""Synthetic images that copy a random code from one side to the other.

A column of eight coloured cells runs down the left edge and the same colours,
in the same order, down the right edge, on a soft grey gradient. Each cell is
one of six colours, so a code holds 20 bits. Neither the label (the direction in
which the gradient brightens) nor any part of the image tells it: to draw or to
judge an image, each cell has to be compared with the one at the other edge.
"""

import math

import numpy as np

CELLS = 8
DIRECTIONS = ("right", "down", "left", "up")
# Columns, as fractions of the width.
_COLUMNS = (1 / 16, 3 / 16), (13 / 16, 15 / 16)


def paint_codes(images, colours) -> None:
    """Paints the two columns onto images.

    Args:
        images: `[n, size, size, 3]`, float32 in [0, 255], changed in place.
        colours: Colours of the cells from top to bottom, `[n, 8, 3]`, float32.
    """
    for column in _COLUMNS:
        for cell in range(CELLS):
            rows, columns = _pixels(images.shape[1], cell, column)
            images[:, rows, columns] = colours[:, cell, None, None]


def code_agreement(images, nearest_colours) -> dict[str, float]:
    """Measures how often the cells of a row have the same colour.

    Args:
        images: `[n, size, size, 3]`, float32 in [0, 255].
        nearest_colours: Function of mean colours `[..., 3]` that returns the
            index of the nearest colour of the palette, or -1, `[...]`.

    Returns:
        Fractions of all rows of all images: `both_found` (both cells have a
        colour) and `agreement` (the same colour), `agreement_if_found` of
        those found, NaN if there are none; and `whole`, the fraction of images
        in which all eight rows agree. Independent sides reach 1/6 if found,
        and a whole image in one of 1.7 million.
    """
    sides = [
        np.stack([_mean(images, cell, side) for cell in range(CELLS)], axis=1)
        for side in _COLUMNS
    ]
    left, right = (nearest_colours(side) for side in sides)  # [n, 8]
    found = (left >= 0) & (right >= 0)
    agree = found & (left == right)
    count = found.sum()
    return {
        "both_found": float(found.mean()),
        "agreement": float(agree.mean()),
        "agreement_if_found": float(agree.sum() / count) if count else math.nan,
        "whole": float(agree.all(axis=1).mean()),
    }


def _mean(images, cell, column):
    """Mean colour of a cell without its border, `[n, 3]`."""
    size = images.shape[1]
    rows, columns = _pixels(size, cell, column, margin=size / 32)
    return images[:, rows, columns].mean(axis=(1, 2))


def _pixels(size, cell, column, margin=0.0):
    """Returns the rows and the columns of a cell as slices."""
    rows = cell / CELLS, (cell + 1) / CELLS
    return tuple(
        slice(round(start * size + margin), round(stop * size - margin))
        for start, stop in (rows, column)
    )
