"""Latents and labels are a function of the seed alone."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.latents import describe_imbalance, draw_latents, fold_in


def test_keys_have_64_bits():
    keys = np.array([fold_in(fold_in([0, 0], i), 0) for i in range(64)])
    assert keys.dtype == np.int64
    # A key of 32 bits never has those above; as a sign, one in two has.
    assert np.mean(np.abs(keys[:, 0]) >= 2**32) > 0.9
    assert len(np.unique(keys[:, 0])) == len(keys)


def test_the_dtype_of_a_number_makes_no_difference():
    expected = fold_in([3, 1], 5)
    for number in (tf.constant(5), tf.constant(5, tf.int64), np.int32(5)):
        np.testing.assert_array_equal(fold_in([3, 1], number), expected)


@pytest.mark.parametrize("counts", [[100, 900], [0, 5, 0, 15, 0]])
def test_labels_are_as_frequent_as_in_the_data(counts):
    n = 20_000
    _, labels = draw_latents(n, 2, len(counts), [0, 1], counts)
    assert labels.dtype == tf.int32
    found = np.bincount(labels, minlength=len(counts))
    shares = np.array(counts) / np.sum(counts)
    deviation = np.sqrt(n * shares * (1 - shares))
    assert np.all(np.abs(found - n * shares) <= 4 * deviation)


def test_latents_do_not_depend_on_what_labels_are_drawn_from():
    expected, _ = draw_latents(8, 4, 3, [0, 1])
    latents, _ = draw_latents(8, 4, 3, [0, 1], [1, 2, 3])
    np.testing.assert_array_equal(latents, expected)


def test_imbalance_is_the_share_of_images_in_another_class():
    assert describe_imbalance([45, 55], "labels") is None
    # A small sample of balanced classes.
    assert describe_imbalance([12, 21, 10, 21], "labels") is None
    text = describe_imbalance([10, 90], "train.labels")
    assert "classes are 10, 90," in text
    assert "40%" in text
    assert "train.labels = 'data'" in text
    named = describe_imbalance([10, 90], "train.labels", ["cat", "dog"])
    assert "classes are cat 10, dog 90," in named
