"""Nearest real images of generated ones: has the generator memorised them?"""

import dataclasses

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from sagan.data import ImageDataset
from sagan.evaluation.embedding import quantise
from sagan.evaluation.features import FeatureNetwork

# Real images whose nearest others are the reference, if there are as many.
_REFERENCES = 256


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Real images that are nearest to generated ones.

    Attributes:
        images: Nearest first, `[n, count, height, width, channels]`, float32
            in [-1, 1].
        distances: Their Euclidean distances between features, `[n, count]`.
        real_distances: As a reference, the distances of some real images to
            the nearest other one, `[m]`.
    """

    images: np.ndarray
    distances: np.ndarray
    real_distances: np.ndarray

    def __str__(self):
        ours = np.median(self.distances[:, 0])
        real = np.median(self.real_distances)
        return (
            f"median distance to the nearest {ours:.4g}, from a real image to "
            f"the nearest other one {real:.4g}: much less would be copies"
        )


def nearest_images(
    network: FeatureNetwork, dataset: ImageDataset, images, count: int
) -> Neighbours:
    """Finds the real images whose features are nearest to those of others.

    Neither the real images nor their features are kept, except the nearest.

    Args:
        network: The feature network.
        dataset: The real images, opened for one pass.
        images: Generated images, `[n, height, width, channels]`, float in
            [-1, 1]; rounded to 256 values first.
        count: Number of neighbours of each.

    Raises:
        ValueError: If there are not more than `count` real images.
    """
    if dataset.size <= count:
        raise ValueError(
            f"--neighbours is {count}, but {dataset.name!r} has "
            f"{dataset.size} images: expected fewer than these."
        )
    n = len(images)
    queries = np.concatenate(
        [
            np.asarray(network.embed(quantise(images))[0]),
            _first_features(network, dataset, _REFERENCES),
        ]
    )
    # Numbers of the real images among the queries, which are no neighbours of
    # themselves; negative for generated ones.
    own = np.arange(len(queries)) - n
    distances = np.full([len(queries), count], np.inf)
    numbers = np.full([len(queries), count], -1)
    kept, seen = {}, 0
    for batch, _ in _batches(dataset):
        features = np.asarray(network.embed(batch)[0])
        found = seen + np.arange(len(batch))
        new = euclidean_distances(queries, features)  # [n + m, batch]
        new[own[:, None] == found] = np.inf
        distances = np.concatenate([distances, new], axis=1)
        numbers = np.concatenate(
            [numbers, np.broadcast_to(found, new.shape)], axis=1
        )
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
        distances = np.take_along_axis(distances, nearest, axis=1)
        numbers = np.take_along_axis(numbers, nearest, axis=1)
        kept |= dict(zip(found, batch, strict=True))
        kept = {i: kept[i] for i in np.unique(numbers[:n]) if i >= 0}
        seen += len(batch)
    return Neighbours(
        np.stack([np.stack([kept[i] for i in row]) for row in numbers[:n]]),
        distances[:n],
        distances[n:, 0],
    )


def _first_features(network, dataset, n):
    """Returns the features of the first `n` images of a pass."""
    features = []
    for images, _ in _batches(dataset):
        features.append(np.asarray(network.embed(images)[0]))
        if sum(map(len, features)) >= n:
            break
    return np.concatenate(features)[:n]


def _batches(dataset):
    return dataset.checked(dataset.one_pass().as_numpy_iterator())
