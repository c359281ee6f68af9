"""DiffAugment and the augmentation of bCR, by values computed by hand."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.objective.augmentation import (
    DRAWS,
    augment,
    draw_augmentations,
    flip_and_shift,
)

SIZE = 8  # Shifts are up to one pixel, and a square is 4 pixels wide.


def draws_of(**values):
    """Returns draws of one image, a half except for those given by index."""
    draws = np.full((1, DRAWS), 0.5, np.float32)
    for name, value in values.items():
        draws[0, int(name[1:])] = value
    return tf.constant(draws)


def image(channels=3):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (1, SIZE, SIZE, channels)).astype(np.float32)


def test_colours_change_as_published():
    pixels = np.zeros((1, SIZE, SIZE, 3), np.float32)
    pixels[0, 0, 0] = [0.3, 0.0, -0.3]
    # Brightness + 0.25; saturation 1.5; contrast 0.75 about a mean of 0.25.
    draws = draws_of(_0=0.75, _1=0.75, _2=0.25)
    found = augment(tf.constant(pixels), draws, ["color"])
    np.testing.assert_allclose(
        found[0, 0, 0], 0.25 + 0.75 * 1.5 * np.float32([0.3, 0, -0.3]), 1e-6
    )
    np.testing.assert_allclose(found[0, 1, 1], [0.25] * 3, 1e-6)


def test_a_half_changes_no_colour_and_moves_nothing():
    found = augment(image(), draws_of(), ["color", "translation"])
    np.testing.assert_allclose(found, image(), atol=1e-6)


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -1), (0.5, 0), (0.999, 1)])
def test_translation_takes_pixels_from_there_and_zeros_from_outside(
    draw, shift
):
    padded = np.pad(image(), [(0, 0), (1, 1), (1, 1), (0, 0)])
    for axis in (0, 1):
        draws = draws_of(**{f"_{3 + axis}": draw})
        rows, columns = (1 + (shift if i == axis else 0) for i in (0, 1))
        expected = padded[:, rows : rows + SIZE, columns : columns + SIZE]
        found = augment(image(), draws, ["translation"])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("draw", "covered"),
    [(0.0, [0, 1]), (0.5, [2, 3, 4, 5]), (0.999, [6, 7])],
)
def test_cutout_clears_a_square_cut_at_the_border(draw, covered):
    expected = image()
    expected[:, covered, 1:3] = 0.0
    # Its other side is at 3 - 2 = 1 to 4.
    expected[:, covered, 3:5] = 0.0
    found = augment(image(), draws_of(_5=draw, _6=3.5 / 9), ["cutout"])
    np.testing.assert_array_equal(found, expected)


def test_all_follow_in_the_order_of_the_paper():
    draws = draw_augmentations(1, [3, 4])[:, 0]
    found = image()
    for name in ("color", "translation", "cutout"):
        found = augment(found, draws, [name])
    names = ["cutout", "translation", "color"]
    np.testing.assert_array_equal(augment(image(), draws, names), found)
    np.testing.assert_array_equal(augment(image(), draws, []), image())


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -1), (0.999, 1)])
def test_flip_and_shift_reflects_at_the_border(draw, shift):
    padded = np.pad(image(), [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    moved = padded[:, 1 + shift : 1 + shift + SIZE, 1:-1]
    for flip, expected in ((0.5, moved), (0.4, moved[:, :, ::-1])):
        found = flip_and_shift(image(), draws_of(_7=draw, _9=flip))
        np.testing.assert_array_equal(found, expected)


def test_gradients_pass_through():
    images = tf.constant(image())
    draws = draw_augmentations(1, [1, 2])[:, 0]
    weights = np.random.default_rng(2).normal(size=images.shape)
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = tf.reduce_sum(
            np.float32(weights)
            * augment(images, draws, ["color", "translation", "cutout"])
        )
    gradient = tape.gradient(value, images).numpy().ravel()
    # All is linear but for the brightness: differences are exact.
    for i in (0, 77, 100):
        step = np.zeros(images.shape, np.float32)
        step.flat[i] = 1.0
        ends = [
            np.sum(
                weights
                * augment(
                    images + side * step,
                    draws,
                    ["color", "translation", "cutout"],
                ).numpy()
            )
            for side in (1, -1)
        ]
        assert gradient[i] == pytest.approx((ends[0] - ends[1]) / 2, abs=1e-4)


def test_draws_are_uniform_and_of_their_position():
    draws = draw_augmentations(64, [5, 6]).numpy()
    assert draws.shape == (64, 2, DRAWS)
    np.testing.assert_array_equal(draw_augmentations(8, [5, 6]), draws[:8])
    assert len(np.unique(draws)) > 0.99 * draws.size
    assert abs(draws.mean() - 0.5) < 0.05
