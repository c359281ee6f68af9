"""From a config to a classifier of its data set, which may score images."""

import itertools
import math
import pathlib
import time
from collections.abc import Sequence

import gin
import keras
import tensorflow as tf
from absl import logging

from sagan.builders import PRECISIONS
from sagan.classifier_fit import count_right, fit
from sagan.config import CONFIG_FILE
from sagan.config_changes import check_resumable
from sagan.data import make_dataset, shifted_batches
from sagan.layers.initialization import initialize
from sagan.metrics.classifier_files import (
    CLASSIFIER_FILE,
    Classifier,
    load_classifier,
    save_classifier,
)
from sagan.metrics.classifier_network import ClassifierNetwork
from sagan.record import record_config, record_session
from sagan.settings import check_choices, check_integers, check_numbers
from sagan.workdir import check_writable, hold


@gin.configurable(denylist=["workdir", "data_dir", "download"])
def train_classifier(
    workdir: str,
    data_dir: str | None = None,
    download: bool = False,
    epochs: int = gin.REQUIRED,
    minimum_accuracy: float = gin.REQUIRED,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-3,
    max_shift: int = 0,
    test_split: str = "test",
    seed: int = 0,
) -> Classifier:
    """Trains a classifier in `workdir`, unless it has a finished one.

    `make_dataset` gives the training split as its bindings say, flips too, and
    the test split without flips. A run that was interrupted starts over. On a
    CPU the same seed gives the same weights to the bit.

    Args:
        workdir: Folder of the run; made if absent.
        data_dir: Where TFDS data sets are; None for the TFDS default.
        download: Whether a data set that is not there may be downloaded.
        epochs: Passes over the training split.
        minimum_accuracy: Share of the test split that it must get right, or
            `load_classifier` refuses it.
        learning_rate: The largest; it rises at first and falls as a cosine.
        weight_decay: Share of each weight that a step at rate 1 takes off.
        max_shift: Training images are shifted by up to as many pixels.
        test_split: Split of the data set that measures the accuracy.
        seed: Of initial weights, shifts and dropout; order and flips are
            those of `make_dataset.seed`.

    Returns:
        The classifier, as `load_classifier` has it.

    Raises:
        ValueError: If a setting is out of range, the data have no labels,
            `workdir` has a classifier of other settings, or the new one is
            less accurate than required.
        FloatingPointError: If the loss is not finite.
    """
    check_integers("train_classifier", 1, epochs=epochs)
    check_integers("train_classifier", 0, max_shift=max_shift, seed=seed)
    check_numbers("train_classifier", 0, 1, minimum_accuracy=minimum_accuracy)
    check_numbers(
        "train_classifier",
        0,
        math.inf,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
    )
    check_writable(workdir)
    workdir = pathlib.Path(workdir)
    if finished := _find_finished(workdir):
        return finished
    started = time.monotonic()
    # Features are compared across machines: on a GPU too they are of float32.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(seed)
    train, test = _open_splits(test_split, data_dir, download)
    network = build_classifier(
        train.image_size, train.channels, train.num_classes
    )
    initialize(network, seed)
    with hold(workdir):
        (workdir / CLASSIFIER_FILE).unlink(missing_ok=True)
        record_config(workdir)
        record_session(workdir, 0, train.size)
        history = fit(
            network,
            shifted_batches(train, max_shift, seed),
            test.one_pass(),
            epochs,
            train.size // train.batch_size,
            learning_rate,
            weight_decay,
        )
        network = _in_float32(network)
        right, seen = count_right(network, test.one_pass())
        save_classifier(
            workdir,
            network,
            dataset=train.name,
            test_split=test_split,
            test_accuracy=right / seen,
            num_test_images=seen,
            minimum_accuracy=minimum_accuracy,
            test_accuracy_by_epoch=[round(share, 6) for share in history],
            epochs=epochs,
            seed=seed,
            seconds=round(time.monotonic() - started, 1),
        )
    classifier = load_classifier(workdir)
    logging.info("Wrote %s: %s.", workdir, _describe(classifier))
    return classifier


@gin.configurable(denylist=["image_size", "channels", "num_classes"])
def build_classifier(
    image_size: int,
    channels: int,
    num_classes: int,
    stages: Sequence[Sequence[int]] = gin.REQUIRED,
    feature_dim: int = 128,
    pointwise: str = "conv2d",
    dropout: float = 0.0,
    precision: str = "float32",
) -> ClassifierNetwork:
    """Makes a `ClassifierNetwork` with its variables; arguments are its own.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    _check_stages(stages)
    check_integers("build_classifier", 1, feature_dim=feature_dim)
    check_numbers("build_classifier", 0, 1, dropout=dropout)
    check_choices("build_classifier.precision", [precision], PRECISIONS)
    return ClassifierNetwork(
        image_size,
        channels,
        num_classes,
        stages,
        feature_dim,
        pointwise=pointwise,
        dropout=dropout,
        precision=precision,
    )


def _check_stages(stages):
    kinds = (tuple, list)
    fits = isinstance(stages, kinds) and stages
    if not fits or not all(isinstance(w, kinds) and w for w in stages):
        raise ValueError(
            f"build_classifier.stages is {stages!r}: expected a tuple of "
            "tuples such as ((32,), (64, 64))."
        )
    for width in itertools.chain(*stages):
        check_integers("build_classifier", 1, stages=width)


def _find_finished(workdir):
    """Returns the classifier of a folder, or None if one must be trained."""
    if not (workdir / CLASSIFIER_FILE).exists():
        return None
    try:
        classifier = load_classifier(workdir)
    except ValueError as error:
        logging.warning("%s Training starts over.", error)
        return None
    config = workdir / CONFIG_FILE
    if config.exists():
        check_resumable(config.read_text(), gin.config_str())
    logging.info(
        "%s has a finished classifier: %s.", workdir, _describe(classifier)
    )
    return classifier


def _describe(classifier):
    return (
        f"{classifier.test_accuracy:.2%} of {classifier.num_test_images} test "
        f"images right, weights {classifier.weights_sha256[:12]}"
    )


def _open_splits(test_split, data_dir, download):
    """Returns the training split of the config and the test split."""
    source = {"data_dir": data_dir, "download": download}
    train = make_dataset(**source)
    if not train.num_classes:
        raise ValueError(
            f"A classifier of {train.name!r} needs its labels: bind "
            "make_dataset.num_classes to the number of its classes."
        )
    return train, make_dataset(split=test_split, flip=False, **source)


def _in_float32(network):
    """Returns the network as it will score, so that its accuracy is of that."""
    twin = ClassifierNetwork(**network.description)
    twin.set_weights(network.get_weights())
    return twin
