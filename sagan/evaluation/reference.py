"""Real images as a feature network sees them, computed once and kept."""

import hashlib
import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from sagan.data import ImageDataset, make_dataset
from sagan.metrics.embedding import Embedded, embed_images
from sagan.metrics.features import FeatureNetwork

_FOLDER = "folder:"
_CACHE = "sagan_features"


def open_real(split: str, data_dir) -> ImageDataset:
    """Opens a split of the config's data set, for one pass: not mirrored.

    Args:
        split: Its name; None for the one that the run trains on.
        data_dir: Where TFDS data sets are; None for the TFDS default.
    """
    split = {} if split is None else {"split": split}
    return make_dataset(flip=False, cache=False, data_dir=data_dir, **split)


def has_splits(dataset: ImageDataset) -> bool:
    """Whether a data set has other images under the name of a split."""
    return not dataset.name.startswith(_FOLDER)


def embed_real(
    network: FeatureNetwork,
    dataset: ImageDataset,
    split: str,
    num_images: int,
    kept: int,
    cache: pathlib.Path | None,
) -> Embedded:
    """Returns real images embedded, from the cache if they are there.

    Args:
        network: The feature network.
        dataset: The images; their order is that of its seed.
        split: Its name, for the name of the file.
        num_images: How many, from the first on.
        kept: Of how many features are kept.
        cache: Folder of the cache, or None for none.
    """
    path = None
    if cache is not None:
        path = cache / _file_name(network, dataset, split, num_images, kept)
        if path.is_file():
            return Embedded.load(path)
    embedded = embed_images(network, first_images(dataset, num_images), kept)
    if path is not None:
        try:
            embedded.save(path)
            logging.info("Wrote %s.", path)
        except OSError as error:
            logging.warning("Features of real images are not kept: %s", error)
    return embedded


def embed_halves(
    network: FeatureNetwork, dataset: ImageDataset, num_images: int, kept: int
) -> tuple[Embedded, Embedded]:
    """Returns two halves of the images embedded, every other batch in one."""
    halves = []
    for first in (0, 1):
        batches = first_images(dataset, num_images)
        half = itertools.islice(batches, first, None, 2)
        halves.append(embed_images(network, half, kept))
    return tuple(halves)


def first_images(dataset: ImageDataset, num_images: int):
    """Yields batches of the first images of a pass, with their labels."""
    batches = dataset.one_pass().as_numpy_iterator()
    left = num_images
    for images, labels in batches:
        yield images[:left], labels[:left]
        left -= len(images)
        if left <= 0:
            return


def cache_folder(dataset: ImageDataset, data_dir, workdir) -> pathlib.Path:
    """Returns where features of a data set are kept: beside it.

    Those of procedural images are kept in the run's folder.
    """
    if dataset.name.startswith(_FOLDER):
        folder = pathlib.Path(dataset.name.removeprefix(_FOLDER))
        return folder.resolve().parent / _CACHE
    if dataset.name == "synthetic":
        return pathlib.Path(workdir) / _CACHE
    root = data_dir or tfds.core.constants.DATA_DIR
    return pathlib.Path(root).expanduser() / _CACHE


def _file_name(network, dataset, split, num_images, kept):
    size = f"{dataset.image_size}x{dataset.image_size}x{dataset.channels}"
    sample = hashlib.sha256()
    # A data set that was changed has other images at the start.
    for images, labels in itertools.islice(
        dataset.batches().as_numpy_iterator(), 2
    ):
        sample.update(np.ascontiguousarray(images).tobytes())
        sample.update(np.ascontiguousarray(labels).tobytes())
    name = dataset.name.removeprefix(_FOLDER)
    parts = (
        *(
            pathlib.Path(name).name,
            split,
            size,
            f"{num_images}of{dataset.size}",
        ),
        *(network.name, network.sha256[:12], f"kept{kept}"),
        sample.hexdigest()[:12],
    )
    text = "_".join(parts)
    return (
        "".join(c if c.isalnum() or c in "-._" else "-" for c in text) + ".npz"
    )
