"""Training of the classifier that scores generated images."""

import math
import pathlib
import time
from typing import Literal

import gin
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from sagan.config import (
    CONFIG_FILE,
    Count,
    Fraction,
    Natural,
    NonNegative,
    checked,
)
from sagan.evaluation.classifier import (
    CLASSIFIER_FILE,
    Classifier,
    ClassifierNetwork,
    build_classifier,
    load_classifier,
    save_classifier,
)
from sagan.evaluation.classifier_batches import (
    shifted_batches,
    turned_batches,
)
from sagan.evaluation.classifier_data import are_same, open_splits
from sagan.layers.initialization import initialize
from sagan.runs.files import check_writable, lock_run
from sagan.runs.record import record_config, record_session
from sagan.runs.resume import check_resumable

Targets = Literal["labels", "rotation"]


@gin.configurable(denylist=["workdir", "data_dir", "download"])
@checked
def train_classifier(
    workdir: str,
    data_dir: str | None = None,
    download: bool = False,
    epochs: Count = gin.REQUIRED,
    minimum_accuracy: Fraction = gin.REQUIRED,
    learning_rate: NonNegative = 0.1,
    weight_decay: NonNegative = 5e-3,
    max_shift: Natural = 0,
    test_split: str = "test",
    test_data: str | None = None,
    seed: Natural = 0,
    targets: Targets = "labels",
) -> Classifier:
    """Trains a classifier in `workdir`, unless it has a finished one.

    `make_dataset` opens the training split as bound, flips included, and the
    test split without flips. An interrupted run starts over. On a CPU, equal
    seeds give bitwise equal weights.

    Args:
        workdir: Folder of the run; created if missing.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        download: Whether a missing dataset may be downloaded.
        epochs: Passes over the training split.
        minimum_accuracy: Fraction of the test split to classify correctly;
            `load_classifier` refuses a classifier below it.
        learning_rate: Peak learning rate, after a linear warm-up and before a
            cosine decay.
        weight_decay: Fraction of each weight that a step at rate 1 subtracts.
        max_shift: Largest shift of training images in pixels.
        test_split: Split of the dataset that measures the accuracy.
        test_data: Name of a dataset that does instead, all of it; for image
            folders, which have no splits.
        seed: Seed for initial weights, shifts and dropout; order and flips use
            `make_dataset.seed`.
        targets: What it learns: "labels", or for data without any "rotation",
            by which of four quarter turns an image was turned.

    Returns:
        The classifier, as `load_classifier` returns it.

    Raises:
        ValueError: If a setting is out of range, the data have no labels,
            `workdir` has a classifier of other settings or images, or the new
            one is less accurate than required.
        FloatingPointError: If the loss is not finite.
    """
    check_writable(workdir)
    workdir = pathlib.Path(workdir)
    if finished := _find_finished(workdir, data_dir):
        return finished
    started = time.monotonic()
    # Features compare across machines: float32 on a GPU too.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    keras.utils.set_random_seed(seed)
    train, test = open_splits(
        test_split, test_data, data_dir, download, targets
    )
    num_classes, learnt = train.num_classes, train.describe()
    if targets == "rotation":
        num_classes, turned = 4, turned_batches
        learnt = {k: v for k, v in learnt.items() if k != "classes"}
    else:
        turned = _unchanged
    network = build_classifier(train.image_size, train.channels, num_classes)
    initialize(network, seed)
    with lock_run(workdir):
        (workdir / CLASSIFIER_FILE).unlink(missing_ok=True)
        record_config(workdir)
        record_session(workdir, 0, train.size, data=train.describe())
        history = fit(
            network,
            turned(shifted_batches(train, max_shift, seed)),
            turned(test.one_pass()),
            epochs,
            train.size // train.batch_size,
            learning_rate,
            weight_decay,
        )
        network = _in_float32(network)
        right, seen = count_right(network, turned(test.one_pass()))
        save_classifier(
            workdir,
            network,
            dataset=train.name,
            data=learnt,
            targets=targets,
            test_split=test_data or test_split,
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


def _unchanged(batches):
    return batches


def _find_finished(workdir, data_dir):
    """Returns the finished classifier of a folder, or None."""
    if not (workdir / CLASSIFIER_FILE).exists():
        return None
    try:
        classifier = load_classifier(workdir)
    except ValueError as error:
        logging.warning("%s Training starts over.", error)
        return None
    same = classifier.data and are_same(workdir, classifier.data, data_dir)
    # Images may have moved.
    allowed = {"make_dataset.name"} if same else ()
    config = workdir / CONFIG_FILE
    if config.exists():
        check_resumable(config.read_text(), gin.config_str(), allowed)
    logging.info(
        "%s has a finished classifier: %s.", workdir, _describe(classifier)
    )
    return classifier


def _describe(classifier):
    return (
        f"{classifier.test_accuracy:.2%} of {classifier.num_test_images} test "
        f"images right, weights {classifier.weights_sha256[:12]}"
    )


def _in_float32(network):
    """Returns a float32 copy, so that the accuracy is that of what scores."""
    twin = ClassifierNetwork(**network.description)
    twin.set_weights(network.get_weights())
    return twin


def fit(
    network, train, test, epochs, steps_per_epoch, learning_rate, weight_decay
) -> list[float]:
    """Trains a network by SGD with linear warm-up and cosine decay.

    Args:
        network: Maps images to logits; changed in place.
        train: Endless batches of images and labels.
        test: Finite batches, for the accuracy after each epoch.
        epochs: Number of epochs.
        steps_per_epoch: Batches per epoch.
        learning_rate: Peak rate, reached after an eighth of all steps.
        weight_decay: Fraction of each weight that a step at rate 1 subtracts.

    Returns:
        The accuracy on `test` after each epoch.

    Raises:
        FloatingPointError: If the loss of an epoch is not finite.
    """
    steps = epochs * steps_per_epoch
    warmup = max(1, steps // 8)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, steps - warmup),
        warmup_target=learning_rate,
        warmup_steps=warmup,
    )
    network.compile(
        keras.optimizers.SGD(
            rate, momentum=0.9, nesterov=True, weight_decay=weight_decay
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    history = network.fit(
        train,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        validation_data=test,
        shuffle=False,
        verbose=0,
        callbacks=[_EpochLog(epochs)],
    )
    return history.history["val_accuracy"]


def count_right(network, batches) -> tuple[int, int]:
    """Counts the images that a network classifies correctly, and all images.

    Args:
        network: Maps images to logits.
        batches: Finite batches of images and labels.
    """
    right = seen = 0
    for images, labels in batches.as_numpy_iterator():
        logits = np.asarray(network(images, training=False))
        right += int(np.sum(logits.argmax(-1) == labels))
        seen += len(labels)
    return right, seen


class _EpochLog(keras.callbacks.Callback):
    """Logs a line per epoch and stops a run that diverged."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}: lower "
                "train_classifier.learning_rate."
            )
        logging.info(
            "epoch %d/%d: loss %.3f, accuracy %.2f%% in training, %.2f%% on "
            "the test split",
            epoch + 1,
            self.epochs,
            logs["loss"],
            100 * logs["accuracy"],
            100 * logs["val_accuracy"],
        )
