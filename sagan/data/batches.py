"""The sequence of batches, a pure function of the seed and the position.

Position p counts examples from the start of training: batch k holds positions
k * batch_size to (k + 1) * batch_size - 1. Epoch p // size visits each example
once, in an order that depends only on (seed, epoch); which images of batch k
are mirrored depends only on (seed, k). So a resumed run starts at any batch
without replaying earlier ones. A batch may straddle two epochs; no example is
dropped. Each of several workers reads only its own rows of every batch.
"""

import contextlib
import functools
import re

import numpy as np
import tensorflow as tf

from sagan.data.preprocessing import to_unit_range

# TensorFlow's message for every operation, reading too, once a worker ends.
_LOST_WORKER = "Collective ops is aborted"


class ImageDataset:
    """An endless, repeatable sequence of batches; made by `make_dataset`.

    Attributes:
        name: Name of the dataset, as given to `make_dataset`.
        identity: What distinguishes its images and labels from others.
        size: Number of examples, that is, of positions in an epoch.
        num_classes: Number of classes, 0 if labels are not used.
        label_histogram: Examples per class, int `[num_classes]`; `None` if
            labels are not used or counting them would take a full pass.
        channels: Image channels, 1 or 3.
        image_size: Height and width in pixels.
        batch_size: Number of images per batch.
        seed: Seed for the order and the flips.
        order: "shuffled" as a whole in each epoch, or "streamed" through a
            buffer.
    """

    def __init__(
        self, read, *, name, identity, size, num_classes, label_histogram,
        channels, image_size, batch_size, seed, flip, failures, order,
    ):  # fmt: skip
        self._read = read
        self._flip = flip
        self._failures = failures
        self.name = name
        self.identity = identity
        self.size = size
        self.num_classes = num_classes
        self.label_histogram = label_histogram
        self.channels = channels
        self.image_size = image_size
        self.batch_size = batch_size
        self.seed = seed
        self.order = order

    def describe(self) -> dict[str, object]:
        """Returns what a run's record says of the data, as JSON takes it."""
        counts = self.label_histogram
        return {
            "name": self.identity.full_name,
            "fingerprint": self.identity.fingerprint,
            "images": self.size,
            "classes": list(self.identity.class_names)
            if self.num_classes
            else [],
            "counts": None if counts is None else counts.tolist(),
            "modified": self.identity.times,
            "order": self.order,
        }

    def batches(
        self, first: int = 0, rows: range | None = None
    ) -> tf.data.Dataset:
        """Returns the endless sequence of batches, from batch `first` on.

        Args:
            first: Number of batches already consumed. `batches(first=k)`
                yields exactly the batches k, k + 1, ... of `batches()`.
            rows: Consecutive rows of each batch to read; None for all.

        Returns:
            A dataset of images, float32 `[rows, image_size, image_size,
            channels]` in [-1, 1], and labels, int32 `[rows]` in `[0,
            num_classes)`, or zeros if `num_classes` is 0.
        """
        if first < 0:
            raise ValueError(f"first must not be negative, got {first}.")
        rows = rows or range(self.batch_size)
        data = self._read(
            first * self.batch_size, self.batch_size, self.seed, rows
        )
        data = data.enumerate(start=first).map(
            functools.partial(self._finish, rows=rows),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return data.prefetch(tf.data.AUTOTUNE)

    def steps(
        self, d_steps: int, first: int = 0, rows: range | None = None
    ) -> tf.data.Dataset:
        """Returns the batches of each training step, from step `first` on.

        Returns:
            A dataset of `d_steps` stacked elements of `batches`: images
            `[d_steps, rows, ...]`, labels `[d_steps, rows]`.
        """
        data = self.batches(first * d_steps, rows)
        # Stacking copies: prefetched while the previous step runs.
        return data.batch(d_steps, drop_remainder=True).prefetch(1)

    def one_pass(self) -> tf.data.Dataset:
        """Returns each example once: the first `size` of `batches()`.

        Returns:
            As `batches()`, but finite; the last batch may be smaller.
        """

        def trim(batch, example):
            left = self.size - batch * self.batch_size
            images, labels = example
            return images[:left], labels[:left]

        num_batches = -(-self.size // self.batch_size)
        batches = self.batches().take(num_batches).enumerate().map(trim)
        # With an unknown cardinality, `keras.Model.evaluate` counts one more
        # batch, of images that are all wrong.
        return batches.apply(
            tf.data.experimental.assert_cardinality(num_batches)
        )

    def checked(self, batches):
        """Yields the elements of an iterable of this dataset's batches.

        Raises:
            OSError: If a file is missing or broken, in one line.
        """
        batches = iter(batches)
        while True:
            with self._failures():
                try:
                    batch = next(batches)
                except StopIteration:
                    return
            yield batch

    def _finish(self, batch, example, rows):
        images, labels = example
        square = [len(rows), self.image_size, self.image_size]
        images = tf.ensure_shape(images, [*square, self.channels])
        labels = tf.ensure_shape(labels, [len(rows)])
        if self._flip:
            chosen = flips(batch, self.batch_size, self.seed)
            chosen = chosen[rows.start : rows.stop]
            mirrored = tf.reverse(images, axis=[2])
            images = tf.where(chosen[:, None, None, None], mirrored, images)
        if not self.num_classes:
            labels = tf.zeros_like(labels)
        return to_unit_range(images), labels


def flips(batch, batch_size: int, seed: int):
    """Returns which images of a batch are mirrored: bool, about half true."""
    # Epochs are not negative, so this stream differs from those of the orders.
    key = tf.stack([tf.constant(seed, tf.int64), -1 - batch])
    return tf.random.stateless_uniform([batch_size], key, alg="philox") < 0.5


def first_examples(batches, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first images and labels of batches, as arrays.

    Args:
        batches: Iterable of images `[batch, ...]` and labels `[batch]`, arrays.
        number: How many; fewer if there are fewer.
    """
    images, labels = [], []
    for some, their_labels in batches:
        images.append(some)
        labels.append(their_labels)
        if sum(map(len, images)) >= number:
            break
    return np.concatenate(images)[:number], np.concatenate(labels)[:number]


@contextlib.contextmanager
def reading(source: str, fix: str):
    """Context that turns an error of tf.data into a one-line OSError.

    Any failure in a pipeline, from a missing file to a broken image, leaves its
    iterator as an error of TensorFlow, with the name of the operation before
    the reason and a traceback after it.

    Args:
        source: What is read, and where.
        fix: What to do about it.

    Raises:
        OSError: Instead of a `tf.errors.OpError`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if _LOST_WORKER in str(error):
            raise
        raise OSError(
            f"{source} cannot be read: {_reason(str(error))}. {fix} The same "
            "command then resumes a run from its last checkpoint."
        ) from error


def _reason(message):
    message = re.sub(r"^\{\{function_node .*?\}\} ", "", message)
    message = re.sub(
        r"^Error in user-defined function passed to .*? transformation with "
        r"iterator: \S+: ",
        "",
        message,
    )
    line = message.split("\n")[0].split(" [Op:")[0]
    # The form of `tf.debugging.Assert`, which also escapes quotes.
    line = re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line)
    return f"{line:.300}".replace("\\'", "'").rstrip(". ")
