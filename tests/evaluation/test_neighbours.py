"""Nearest real images against a comparison of all pairs."""

import contextlib
import types

import numpy as np
import pytest
import tensorflow as tf

from sagan.evaluation import neighbours as neighbours_module
from sagan.evaluation.embedding import quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.neighbours import RealImages, nearest_images

# One real image is twice among them.
REAL = quantise(np.random.default_rng(0).uniform(-1, 1, [30, 2, 2, 3]))
REAL[7] = REAL[3]
NETWORK = FeatureNetwork(
    "flat", "0", "none", lambda images: (tf.reshape(images, [-1, 12]), None)
)


def _dataset(size=30):
    images = tf.data.Dataset.from_tensor_slices((REAL, np.zeros(len(REAL))))
    return types.SimpleNamespace(
        name="noise",
        size=size,
        one_pass=lambda: images.batch(8),
        checked=iter,
    )


def test_neighbours_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(neighbours_module, "_REFERENCES", 10)
    images = np.random.default_rng(1).uniform(-1, 1, [5, 2, 2, 3])
    found = nearest_images(NETWORK, _dataset(), images, 3)
    flat = REAL.reshape(30, 12).astype(np.float64)
    distances = np.linalg.norm(
        quantise(images).reshape(5, 1, 12) - flat, axis=-1
    )
    order = np.argsort(distances, axis=1)[:, :3]
    np.testing.assert_array_equal(found.images, REAL[order])
    expected = np.take_along_axis(distances, order, axis=1)
    np.testing.assert_allclose(found.distances, expected, rtol=1e-5)
    between = np.linalg.norm(flat[:10, None] - flat, axis=-1)
    np.fill_diagonal(between, np.inf)
    nearest = between.min(axis=1)
    assert nearest[3] == nearest[7] == 0.0 < nearest.max()
    np.testing.assert_allclose(found.real_distances, nearest, atol=1e-3)


def test_kept_images_are_searched_alike(monkeypatch):
    monkeypatch.setattr(neighbours_module, "_REFERENCES", 10)
    images = np.random.default_rng(1).uniform(-1, 1, [5, 2, 2, 3])
    kept = RealImages(NETWORK, _dataset())
    assert list(kept.embed()) == [8, 16, 24, 30]
    expected = nearest_images(NETWORK, _dataset(), images, 3)
    for _ in range(2):
        found = kept.nearest(images, 3)
        np.testing.assert_allclose(found.images, expected.images, atol=1e-6)
        np.testing.assert_allclose(found.distances, expected.distances)
        np.testing.assert_allclose(
            found.real_distances, expected.real_distances
        )
    # 12 bytes an image, and 48 of its features.
    few = RealImages(NETWORK, _dataset(), most=60 * 17)
    assert list(few.embed()) == [8, 16]
    stopped = RealImages(NETWORK, _dataset())
    with contextlib.closing(stopped.embed()) as numbers:
        assert [next(numbers), next(numbers)] == [8, 16]
    again = stopped.nearest(REAL[[20]], 4).images[0]
    np.testing.assert_allclose(again, few.nearest(REAL[[20]], 4).images[0])
    first = few.nearest(REAL[[3, 20]], 1)
    np.testing.assert_allclose(first.distances[0], 0.0, atol=1e-3)
    assert first.distances[1] > 0.1


def test_a_copy_is_found_at_no_distance():
    images = REAL[[20, 4]] + 1e-4  # Not what a file of 256 values holds.
    found = nearest_images(NETWORK, _dataset(), images, 1)
    np.testing.assert_array_equal(found.images[:, 0], REAL[[20, 4]])
    assert found.distances.max() < 1e-3
    assert "to the nearest" in str(found)


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(ValueError, match="--neighbours is 30, but 'noise'"):
        nearest_images(NETWORK, _dataset(), REAL[:2], 30)
