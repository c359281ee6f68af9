"""Fitting a classifier, and counting what it gets right."""

import math

import keras
import numpy as np
from absl import logging


def fit(
    network, train, test, epochs, steps_per_epoch, learning_rate, weight_decay
) -> list[float]:
    """Trains a network with SGD, its rate risen to at first and then a cosine.

    Args:
        network: Maps images to logits; changed in place.
        train: Endless batches of images and labels.
        test: Finite ones, on which the accuracy of each epoch is measured.
        epochs: Number of epochs.
        steps_per_epoch: Batches in each.
        learning_rate: The largest, reached after an eighth of all steps.
        weight_decay: Share of each weight that a step at rate 1 takes off.

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
    """Counts the images that a network puts in their class, and all it saw.

    Args:
        network: Maps images to logits.
        batches: Finite, of images and labels.
    """
    right = seen = 0
    for images, labels in batches.as_numpy_iterator():
        logits = np.asarray(network(images, training=False))
        right += int(np.sum(logits.argmax(-1) == labels))
        seen += len(labels)
    return right, seen


class _EpochLog(keras.callbacks.Callback):
    """A line for each epoch, and an end to a run that diverged."""

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
