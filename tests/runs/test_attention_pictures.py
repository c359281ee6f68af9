"""Pictures of attention maps, to the pixel."""

import numpy as np
import pytest

from sagan.runs.attention_pictures import COLOURS, attention_rows, with_title


def _draw(point, weights, side=32, channels=3, smooth=False):
    """Draws one map over a white image, `[128 + gap, 2 * (128 + gap), 3]`."""
    images = np.ones((1, side, side, channels))
    size = weights.shape
    return attention_rows(images, [weights[None]], [[point]], size, smooth)


def test_a_query_at_a_corner_marks_its_pixels():
    weights = np.full((16, 16), 1 / 256)
    for point, rows in (((0, 0), slice(0, 10)), ((15, 15), slice(118, 128))):
        image = _draw(point, weights)[:128, :128]
        marked = (image == COLOURS[0]).all(-1)
        # A frame of two pixels around a cell of eight, where there is room.
        assert marked.sum() == 100 - 64
        assert marked[rows, rows].sum() == marked.sum()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_map_colours_its_positions_in_proportion(channels):
    weights = np.zeros((4, 4))
    weights[0, 3], weights[2, 1] = 0.8, 0.2
    drawn = _draw((3, 0), weights, 64, channels)[:128, 132:260]
    dark, colour = 127.5, COLOURS[0].astype(float)
    for (row, column), weight in np.ndenumerate(weights):
        if (row, column) == (3, 0):
            continue
        expected = dark + 0.85 * weight / 0.8 * (colour - dark)
        middle = drawn[
            32 * row + 5 : 32 * row + 27, 32 * column + 5 : 32 * column + 27
        ]
        assert np.abs(middle - expected).max() <= 0.5 + 1e-3
    # Positions have sharp edges, unless they are interpolated.
    assert len(np.unique(drawn[8, 64:128], axis=0)) == 2
    smooth = _draw((3, 0), weights, 64, channels, smooth=True)
    assert len(np.unique(smooth[8, 132 + 64 : 260], axis=0)) > 10


def test_a_title_is_written_above():
    pixels = with_title(np.zeros((5, 10, 3), np.uint8), "Step 4")
    assert (pixels[18:, :10] == 0).all()
    assert (pixels[:18] < 128).any()
    assert pixels[18:, 10:].min() == 255
