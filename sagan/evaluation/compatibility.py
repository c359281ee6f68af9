"""Checks that a feature network fits the images that it is to embed."""

import tensorflow as tf
from absl import logging

from sagan.data import ImageDataset
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.real_images import config_split


def check_network(
    network: FeatureNetwork,
    dataset: ImageDataset,
    split: str,
    found_by_name: bool,
) -> None:
    """Checks that a feature network fits the images it is to embed.

    Args:
        network: The feature network.
        dataset: Real images.
        split: Their split.
        found_by_name: Whether it was found by the name of the dataset.

    Raises:
        ValueError: If it learnt other classes though found by name, or takes
            images of another size.
    """
    _check_classes(network, dataset, split, found_by_name)
    shape = [1, dataset.image_size, dataset.image_size, dataset.channels]
    try:
        network.embed(tf.zeros(shape))
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"The feature network {network.name} cannot embed images of "
            f"{dataset.image_size} pixels with {dataset.channels} channels: "
            f"take one made for them. ({str(error).strip().splitlines()[-1]})"
        ) from error


def _check_classes(network, dataset, split, found_by_name):
    """Compares the data of a classifier with those that it is to score.

    Raises:
        ValueError: If it was found by the name of the dataset, and learnt
            other classes.
    """
    if not network.data:
        if found_by_name:
            logging.warning(
                "%s does not say which data it was trained on, as one of an "
                "older version: that it belongs to %s is not checked.",
                *(network.name, dataset.identity.full_name),
            )
        return
    names = dataset.identity.class_names
    learnt = network.data.get("classes", list(names))  # None of rotations.
    if found_by_name and list(names) != learnt:
        raise ValueError(
            f"{network.name} has learnt the classes {few(learnt)}, but "
            f"{dataset.name!r} has {few(names)}: it is of another dataset. "
            "Train one of this dataset in another folder, and give that as "
            "--features or make_evaluation.features."
        )
    # The classifier learns the images that a run trains on.
    other = network.data["fingerprint"] != dataset.identity.fingerprint
    if other and split == config_split():
        logging.warning(
            "%s was trained on other images than are scored: %s, not %s.",
            network.name,
            network.data["name"],
            dataset.identity.full_name,
        )


def few(names) -> str:
    """Lists the first ten names of classes."""
    listing = ", ".join(map(str, names[:10])) or "none"
    return listing + (f" and {len(names) - 10} more" if names[10:] else "")
