"""Crop, resize and channel conversion against independent computations."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sagan.data.preprocessing import (
    CUSTOMARY_CROPS,
    prepare_image,
    to_unit_range,
)


def _smooth(height, width, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, [9, 7, 3], np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.BICUBIC)
    return np.array(image)


@pytest.mark.parametrize(
    ("height", "width", "size", "crop", "box"),
    [
        (218, 178, 64, 178, (0, 20, 178, 198)),
        (218, 178, 128, 160, (9, 29, 169, 189)),
        (100, 60, 32, None, (0, 20, 60, 80)),
        (61, 100, 32, None, (19, 0, 80, 61)),
        (40, 50, 64, None, (5, 0, 45, 40)),
        (40, 50, 32, 178, (5, 0, 45, 40)),
    ],
)
def test_crop_and_resize_match_pillow(height, width, size, crop, box):
    image = _smooth(height, width)
    ours = prepare_image(image, size, crop).numpy().astype(int)
    pillow = Image.fromarray(image).crop(box)
    pillow = pillow.resize((size, size), Image.BILINEAR)
    difference = np.abs(ours - np.array(pillow).astype(int))
    # Pillow rounds between its two passes, and weighs in fixed point.
    assert difference.max() <= 2
    assert difference.mean() < 0.3


def test_resize_is_antialiased():
    stripes = np.zeros([64, 64, 3], np.uint8)
    stripes[:, ::2] = 255
    ours = prepare_image(stripes, 16).numpy()[:, 2:-2]
    np.testing.assert_allclose(ours.astype(float), 127.5, atol=1)


def test_right_size_is_bit_identical():
    image = np.random.default_rng(1).integers(0, 256, [40, 32, 3], np.uint8)
    np.testing.assert_array_equal(prepare_image(image, 32), image[4:36])


def test_grey_is_repeated_and_colour_becomes_luma():
    image = _smooth(32, 32)
    luma = np.array(Image.fromarray(image).convert("L"))
    ours = prepare_image(image, 32, channels=1)
    np.testing.assert_array_equal(ours[..., 0], luma)
    repeated = prepare_image(ours, 32, channels=3)
    np.testing.assert_array_equal(repeated, np.repeat(ours, 3, axis=-1))


def test_unknown_sizes_in_a_graph():
    image = _smooth(50, 41)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    def prepare(image):
        return prepare_image(image, 32)

    np.testing.assert_array_equal(prepare(image), prepare_image(image, 32))


def test_unit_range_ends_exactly():
    ours = to_unit_range(tf.constant([0, 51, 255], tf.uint8)).numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, [-1, -0.6, 1], atol=1e-7)
    assert ours[0] == -1
    assert ours[2] == 1


def test_celeb_a_is_cropped_to_its_width():
    assert CUSTOMARY_CROPS == {"celeb_a": 178}
