"""Latents and labels are a function of the seed alone."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from sagan.latents import (
    closed_path,
    describe_imbalance,
    draw_latents,
    fold_in,
    truncate,
)


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


@pytest.mark.parametrize("threshold", [0.04, 0.5, 2.0])
def test_truncated_latents_follow_the_truncated_normal(threshold):
    latents, labels = draw_latents(200, 128, 3, [4, 0])
    short, same = draw_latents(200, 128, 3, [4, 0], truncation=threshold)
    np.testing.assert_array_equal(same, labels)
    latents, short = latents.numpy(), short.numpy()
    assert short.dtype == np.float32
    assert np.abs(short).max() <= np.float32(threshold)
    within = np.abs(latents) <= threshold
    np.testing.assert_array_equal(short[within], latents[within])
    expected = stats.truncnorm(-threshold, threshold)
    for values in (short[~within], short.ravel()):
        assert stats.kstest(values, expected.cdf).pvalue > 1e-3


def test_a_high_threshold_changes_nothing():
    latents, _ = draw_latents(8, 16, 3, [0, 0])
    np.testing.assert_array_equal(truncate(latents, 9.0, [0, 0]), latents)


def test_a_path_is_on_the_great_circle_and_closes():
    """Thirty degrees a step, from the x axis to the y axis and back."""
    x, y = np.array([[5.0, 0.0, 0.0], [0.0, 5.0, 0.0]])
    path, weights = closed_path([x, y], [2, 0], 3, 3)
    root = np.sqrt(3.0) / 2.0
    expected = [
        x, root * x + y / 2, x / 2 + root * y,
        y, root * y + x / 2, y / 2 + root * x,
    ]  # fmt: skip
    np.testing.assert_allclose(path, expected, atol=1e-6)
    thirds = [[0, 0, 3], [1, 0, 2], [2, 0, 1], [3, 0, 0], [2, 0, 1], [1, 0, 2]]
    np.testing.assert_allclose(weights, np.array(thirds) / 3.0, atol=1e-7)


def test_a_path_between_vectors_of_one_line_is_straight():
    points = np.array([[2.0, 0.0], [4.0, 0.0], [-4.0, 0.0]])
    path, labels = closed_path(points, [0, 0, 0], 0, 2)
    expected = [[2, 0], [3, 0], [4, 0], [0, 0], [-4, 0], [-1, 0]]
    np.testing.assert_allclose(path, expected, atol=1e-6)
    np.testing.assert_array_equal(labels, np.zeros(6, np.int32))
