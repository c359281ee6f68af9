"""Nearest real images of generated ones: has the generator memorised them?"""

import dataclasses
import functools
from collections.abc import Iterator

import gin
import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from sagan.data import ImageDataset
from sagan.evaluation.compatibility import check_network
from sagan.evaluation.embedding import quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.published import PROTOCOLS
from sagan.evaluation.real_images import config_split, open_real
from sagan.runs.sample_grids import make_grid, to_uint8

# Real images whose nearest others are the reference, if there are as many.
_REFERENCES = 256
# Of real images and features, where they are kept: all of CIFAR-10, and some
# 10,000 at 128 pixels.
_KEPT_BYTES = 2**29
_GAP = 10  # Pixels between samples and their neighbours.


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

    def picture(self, images) -> np.ndarray:
        """Returns each image with its neighbours on the right, as a grid.

        Args:
            images: Those that have the neighbours, float in [-1, 1].

        Returns:
            `[height, width, channels]`, uint8.
        """
        flat = self.images.reshape(-1, *self.images.shape[2:])
        samples = make_grid(images, 1)
        real = make_grid(flat, self.images.shape[1])
        gap = np.full([len(samples), _GAP, samples.shape[-1]], 255, np.uint8)
        return np.concatenate([samples, gap, real], axis=1)


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
    references = _first_features(network, dataset, _REFERENCES)
    queries = np.concatenate([_features(network, images), references])
    # The references are real images too, and no neighbours of themselves.
    own = np.arange(len(queries)) - n
    found, distances = _search(queries, own, _embedded(network, dataset), count)
    return Neighbours(found[:n], distances[:n], distances[n:, 0])


class RealImages:
    """Real images and their features, kept to be searched many times.

    As many as fit into a bound of bytes: the first of a pass.

    Args:
        network: The feature network.
        dataset: The real images, opened for one pass.
        most: Bytes of the images and features that are kept.
    """

    def __init__(
        self, network: FeatureNetwork, dataset: ImageDataset, most=_KEPT_BYTES
    ):
        self.network = network
        self.dataset = dataset
        self._most = most
        self._batches = []

    def __len__(self):
        return sum(len(images) for images, _ in self._batches)

    def embed(self) -> Iterator[int]:
        """Embeds the images; yields how many there are, batch by batch.

        If it is closed before its end, those so far are searched.
        """
        size = 0
        try:
            for images, features in _embedded(self.network, self.dataset):
                images = to_uint8(images)
                size += images.nbytes + features.nbytes
                if self._batches and size > self._most:
                    break
                self._batches.append((images, features))
                yield len(self)
        finally:
            joined = map(np.concatenate, zip(*self._batches, strict=True))
            self._batches = [tuple(joined)] if self._batches else []

    def nearest(self, images, count: int) -> Neighbours:
        """Finds the nearest of all that were embedded.

        Args:
            images: As for `nearest_images`.
            count: Number of neighbours of each.
        """
        queries = _features(self.network, images)
        own = np.full(len(queries), -1)
        found, distances = _search(queries, own, self._batches, count)
        found = found.astype(np.float32) / 127.5 - 1.0
        return Neighbours(found, distances, self._real_distances)

    @functools.cached_property
    def _real_distances(self):
        features = self._batches[0][1][:_REFERENCES]
        own = np.arange(len(features))
        return _search(features, own, self._batches, 1)[1][:, 0]


def open_searched(data_dir) -> tuple[FeatureNetwork, ImageDataset]:
    """Opens the feature network and the real images of the parsed config.

    Args:
        data_dir: Folder of TFDS datasets; None for the TFDS default.

    Raises:
        ValueError: If one is missing, or they do not fit each other.
    """
    bound = gin.get_bindings("make_evaluation")
    published = PROTOCOLS[bound.get("protocol", "own")]
    features = bound.get("features") or published.features
    network = published.open_features(features)
    split = bound.get("split") or config_split()
    dataset = open_real(split, data_dir)
    check_network(network, dataset, split, features == "classifier")
    return network, dataset


def _search(queries, own, batches, count):
    """Finds the images whose features are nearest to queries.

    Args:
        queries: Features, `[n, features]`.
        own: Number of the image that a query is itself, which is left out, or
            a negative one, `[n]`. Images are found for the latter alone.
        batches: Images and their features, counted from 0 on.
        count: Number of neighbours.

    Returns:
        Images `[n, count, ...]`, as they are in the batches, and distances
        `[n, count]`, nearest first.
    """
    distances = np.full([len(queries), count], np.inf)
    numbers = np.full([len(queries), count], -1)
    kept, seen = {}, 0
    for images, features in batches:
        found = seen + np.arange(len(images))
        new = euclidean_distances(queries, features)  # [n, batch]
        new[own[:, None] == found] = np.inf
        distances = np.concatenate([distances, new], axis=1)
        numbers = np.concatenate(
            [numbers, np.broadcast_to(found, new.shape)], axis=1
        )
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
        distances = np.take_along_axis(distances, nearest, axis=1)
        numbers = np.take_along_axis(numbers, nearest, axis=1)
        chosen = np.unique(numbers[own < 0])
        kept = {
            i: images[i - seen] if i >= seen else kept[i]
            for i in chosen[chosen >= 0]
        }
        seen += len(images)
    rows = [np.stack([kept[i] for i in row]) for row in numbers[own < 0]]
    return (np.stack(rows) if rows else None), distances


def _features(network, images):
    return np.asarray(network.embed(quantise(images))[0])


def _first_features(network, dataset, n):
    """Returns the features of the first `n` images of a pass."""
    parts = []
    for _, features in _embedded(network, dataset):
        parts.append(features)
        if sum(map(len, parts)) >= n:
            break
    return np.concatenate(parts)[:n]


def _embedded(network, dataset):
    """Yields the batches of a pass, and their features."""
    batches = dataset.one_pass().as_numpy_iterator()
    for images, _ in dataset.checked(batches):
        yield images, np.asarray(network.embed(images)[0])
