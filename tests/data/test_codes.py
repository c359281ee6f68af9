"""Images whose two sides hold the same random code."""

import numpy as np
import pytest

from sagan.data import agreement, shuffle_halves
from sagan.data.synthetic import CODES, COLOURS, PALETTE, make_synthetic_images

N = 1500


@pytest.fixture(scope="module")
def drawn():
    return make_synthetic_images(N, 32, name=CODES)


def nearest(pixels):
    """Indices of the nearest palette entries, by plain distance."""
    distance = pixels[..., None, :].astype(np.float32) - PALETTE
    return np.square(distance).sum(-1).argmin(-1)


def test_every_pixel_of_a_cell_has_the_colour_of_the_one_opposite(drawn):
    images, _ = drawn
    left, right = images[:, :, 2:6], images[:, :, 26:30]
    np.testing.assert_array_equal(left, right)
    cells = left.reshape(N, 8, 4, 4, 3)
    assert (cells == cells[:, :, :1, :1]).all()
    codes = nearest(cells[:, :, 0, 0])
    np.testing.assert_array_equal(PALETTE[codes], cells[:, :, 0, 0])
    # Colours are uniform and independent of each other.
    for cell in range(8):
        counts = np.bincount(codes[:, cell], minlength=len(COLOURS))
        assert abs(counts - N / 6).max() < 5 * np.sqrt(N * 5 / 36)
    together = np.corrcoef(codes.T) - np.eye(8)
    assert abs(together).max() < 0.12
    # The rest is grey.
    rest = images[:, :, 6:26].astype(int)
    assert (rest.max(-1) - rest.min(-1)).max() < 30


def test_the_label_is_where_it_brightens_and_tells_nothing(drawn):
    images, labels = drawn
    assert labels.dtype == np.int32
    rest = images[:, :, 6:26].astype(np.float32).mean(-1)
    across = rest[:, :, -1].mean(-1) - rest[:, :, 0].mean(-1)
    down = rest[:, -1].mean(-1) - rest[:, 0].mean(-1)
    across, down = across / 19, down / 31  # By the distance between the edges.
    angle = np.arctan2(down, across) / (np.pi / 2)
    # Away from the borders between labels, where it is steep enough to see.
    clear = (abs(angle - angle.round()) < 0.35) & (np.hypot(across, down) > 0.5)
    assert clear.sum() > N / 3
    found = angle.round().astype(int) % 4
    np.testing.assert_array_equal(found[clear], labels[clear])
    codes = nearest(images[:, 2::4, 4])
    assert abs(np.corrcoef(codes.T, labels)[-1, :-1]).max() < 0.12


@pytest.mark.parametrize("size", [32, 64, 28])
def test_real_images_agree(size):
    images, _ = make_synthetic_images(64, size, name=CODES)
    assert agreement(images, CODES) == {
        "both_found": 1.0,
        "agreement": 1.0,
        "agreement_if_found": 1.0,
        "whole": 1.0,
    }


def test_shuffled_halves_agree_by_chance(drawn):
    scores = agreement(shuffle_halves(*drawn[:1]), CODES)
    assert scores["both_found"] == 1.0
    assert scores["agreement"] == pytest.approx(1 / 6, abs=0.02)
    assert scores["whole"] == 0.0


def test_counts_by_hand(drawn):
    # 1 row of 8 differs in one image, 1 row is grey in the other.
    images = drawn[0][:2].copy()
    other = (nearest(images[0, 8, 28]) + 1) % len(COLOURS)
    images[0, 8:12, 26:30] = PALETTE[other]
    images[1, 28:, 26:30] = 128
    assert agreement(images, CODES) == {
        "both_found": 15 / 16,
        "agreement": 14 / 16,
        "agreement_if_found": pytest.approx(14 / 15),
        "whole": 0.0,
    }
    broken = np.full([1, 32, 32, 3], np.nan, np.float32)
    scores = agreement(broken, CODES)
    assert scores["both_found"] == 0.0
    assert np.isnan(scores["agreement_if_found"])
