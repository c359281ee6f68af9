"""Features of real images, computed once and cached."""

import pathlib
import zipfile
from collections.abc import Iterator

import gin
import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from sagan.config.paths import image_folder
from sagan.data import ImageDataset, is_synthetic, make_dataset
from sagan.evaluation.embedding import FeatureSet, embed_images
from sagan.evaluation.features import FeatureNetwork, as_file_name

_CACHE = "sagan_features"

# Seed for the order of the images, whatever the run's own, so that runs with
# different seeds are scored against the same images.
REAL_SEED = 0

# Parts of the images in that order: all, or every other one.
ALL, EVEN, ODD = "all", "even", "odd"
_PARTS = {ALL: slice(None), EVEN: slice(0, None, 2), ODD: slice(1, None, 2)}

_UNREADABLE = (zipfile.BadZipFile, EOFError, KeyError, OSError, ValueError)


def config_split() -> str:
    """Returns the split that the parsed config trains on."""
    return gin.get_bindings("make_dataset").get("split", "train")


def open_real(split: str, data_dir) -> ImageDataset:
    """Opens a split of the config's dataset for one pass, without flips.

    Args:
        split: Name of the split.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
    """
    return make_dataset(
        split=split,
        flip=False,
        cache=False,
        shards=1,
        seed=REAL_SEED,
        data_dir=data_dir,
    )


def open_others(
    dataset: ImageDataset, split: str | None, data_dir
) -> ImageDataset | None:
    """Opens real images that share none with a split of a TFDS dataset.

    Args:
        dataset: The images.
        split: Name of the other split; None for "test" if there is one.
        data_dir: Folder of TFDS datasets; None for the TFDS default.

    Returns:
        The other images; None if there are none that are apart.

    Raises:
        ValueError: If `split` is given and does not exist.
    """
    if image_folder(dataset.name):
        if split:
            logging.warning("An image folder has no split %r.", split)
        return None
    try:
        others = open_real(split or "test", data_dir)
    except ValueError as error:
        if split:
            raise
        logging.info("No other images: %s", str(error).splitlines()[0])
        return None
    # Synthetic images have no files: their splits differ in each image.
    same = others.identity.fingerprint == dataset.identity.fingerprint
    if same or dataset.identity.overlaps(others.identity):
        name = split or "test"
        logging.info("The split %r shares images: halves are compared.", name)
        return None
    return others


def embed_real(
    network: FeatureNetwork,
    dataset: ImageDataset,
    split: str,
    num_images: int,
    num_features_kept: int,
    cache: pathlib.Path,
    part: str = ALL,
    keep_logits: bool = False,
) -> FeatureSet:
    """Returns the features of real images, from the cache if present.

    Args:
        network: The feature network.
        dataset: The images.
        split: Name of the split, for the name of the file.
        num_images: Number of images, from the first on.
        num_features_kept: Number of images whose features are kept.
        cache: Folder of the cache.
        part: Part of the `num_images`: "all", "even" or "odd".
        keep_logits: Whether to keep the logits of all images.
    """
    parts = [
        pathlib.Path(image_folder(dataset.name) or dataset.name).name,
        split,
        f"{dataset.image_size}x{dataset.image_size}x{dataset.channels}",
        f"{num_images}of{dataset.size}",
        f"kept{num_features_kept}",
        part,
        network.name,
        network.sha256[:12],
        *([network.variant] if network.variant else []),
        f"crop{gin.get_bindings('make_dataset').get('crop_size')}",
        f"classes{dataset.num_classes}",
        dataset.identity.fingerprint,
        *([dataset.identity.times] if dataset.identity.times else []),
        *(["logits"] if keep_logits else []),
    ]
    path = cache / (as_file_name("_".join(parts)) + ".npz")
    if path.is_file():
        try:
            return FeatureSet.load(path)
        except _UNREADABLE as error:
            logging.warning("%s is damaged (%s): rebuilt.", path, error)
    images = _images(dataset, num_images, _PARTS[part])
    features = embed_images(network, images, num_features_kept, keep_logits)
    try:
        features.save(path)
        logging.info("Wrote %s.", path)
    except OSError as error:
        logging.warning("Features of real images are not cached: %s", error)
    return features


def cache_folder(dataset: ImageDataset, data_dir, workdir) -> pathlib.Path:
    """Returns the folder of cached features, beside the dataset.

    For synthetic images, it is in the run's folder.
    """
    if folder := image_folder(dataset.name):
        return pathlib.Path(folder).resolve().parent / _CACHE
    if is_synthetic(dataset.name):
        return pathlib.Path(workdir) / _CACHE
    root = data_dir or tfds.core.constants.DATA_DIR
    return pathlib.Path(root).expanduser() / _CACHE


def _images(
    dataset, num_images, part
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of a part of the first `num_images` of a pass."""
    seen = 0
    batches = dataset.one_pass().as_numpy_iterator()
    for images, labels in dataset.checked(batches):
        numbers = np.arange(seen, seen + len(images))
        chosen = (numbers < num_images) & np.isin(
            numbers % 2, np.arange(2)[part]
        )
        if chosen.any():
            yield images[chosen], labels[chosen]
        seen += len(images)
        if seen >= num_images:
            return
