"""Layout of pictures made of parts: magnified, joined, on white."""

from collections.abc import Sequence

import numpy as np

# Pixels between parts.
GAP = 4


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Returns `[height, width, 1 or 3]` as three channels."""
    return np.repeat(pixels, 3 // pixels.shape[-1], -1)


def enlarge(pixels: np.ndarray, side: int) -> np.ndarray:
    """Magnifies by the largest integer with which it fits a square.

    Args:
        pixels: `[height, width, channels]`.
        side: Side of the square, in pixels; what is larger stays as it is.
    """
    scale = max(1, side // max(pixels.shape[:2]))
    return pixels.repeat(scale, 0).repeat(scale, 1)


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Puts pictures of any widths below each other."""
    return beside(pictures, axis=0)


def beside(pictures: Sequence[np.ndarray], axis: int) -> np.ndarray:
    """Joins pictures along an axis, with a gap.

    Args:
        pictures: Each `[height, width, 3]`, uint8.
        axis: 0 for below each other, 1 for side by side.
    """
    other = 1 - axis
    side = max(picture.shape[other] for picture in pictures)
    parts = []
    for picture in pictures:
        padding = [(0, 0)] * 3
        padding[other] = (0, side - picture.shape[other])
        padding[axis] = (0, GAP)
        parts.append(np.pad(picture, padding, constant_values=255))
    return np.concatenate(parts, axis)
