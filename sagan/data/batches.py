"""The sequence of batches, a pure function of the seed and the position.

Position p counts examples from the start of training: batch k holds positions
k * batch_size to (k + 1) * batch_size - 1. Epoch p // size visits each example
once, in an order drawn from (seed, epoch) alone, and which images of batch k
are mirrored hangs on (seed, k) alone. So a resumed run starts at any batch
without replaying those before it. A batch may straddle two epochs: none is
dropped. Of several workers each reads some rows of every batch, and only them.
"""

import contextlib
import functools
import re

import tensorflow as tf

from sagan.data.preprocessing import to_unit_range

# What TensorFlow then ends everything with, reading too.
_LOST_WORKER = "Collective ops is aborted"


class ImageDataset:
    """An endless, repeatable sequence of batches; made by `make_dataset`.

    Attributes:
        name: The name it was asked for by.
        size: Number of examples, that is of positions in an epoch.
        num_classes: Number of classes, 0 if labels are not used.
        label_histogram: Examples per class, int `[num_classes]`; `None` if
            labels are not used or counting them would take a full pass.
        channels: 1 or 3.
        image_size: Side of the images in pixels.
        batch_size: Number of images in each batch.
        seed: Seed of the order and the flips.
    """

    def __init__(
        self, read, *, name, size, num_classes, label_histogram, channels,
        image_size, batch_size, seed, flip, failures,
    ):  # fmt: skip
        self._read = read
        self._flip = flip
        self._failures = failures
        self.name = name
        self.size = size
        self.num_classes = num_classes
        self.label_histogram = label_histogram
        self.channels = channels
        self.image_size = image_size
        self.batch_size = batch_size
        self.seed = seed

    def batches(
        self, first: int = 0, rows: range | None = None
    ) -> tf.data.Dataset:
        """Yields `(images, labels)` forever, from batch `first` on.

        Args:
            first: Number of batches already consumed. `batches(first=k)`
                gives exactly the batches k, k + 1, ... of `batches()`.
            rows: Which of each batch to read, consecutive; None for all.

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
        """Yields the batches of each training step, from step `first` on.

        Returns:
            A dataset of what `batches` yields, `d_steps` of them stacked:
            images `[d_steps, rows, ...]`, labels `[d_steps, rows]`.
        """
        data = self.batches(first * d_steps, rows)
        # Stacking is a copy: made while the step before it runs.
        return data.batch(d_steps, drop_remainder=True).prefetch(1)

    def one_pass(self) -> tf.data.Dataset:
        """Yields each example once: the first `size` of `batches()`.

        Returns:
            As `batches()`, but finite, and the last batch may be smaller.
        """

        def trim(batch, example):
            left = self.size - batch * self.batch_size
            images, labels = example
            return images[:left], labels[:left]

        num_batches = -(-self.size // self.batch_size)
        batches = self.batches().take(num_batches).enumerate().map(trim)
        # If their number is unknown, `keras.Model.evaluate` counts one batch
        # more, of images that are all wrong.
        return batches.apply(
            tf.data.experimental.assert_cardinality(num_batches)
        )

    def checked(self, batches):
        """Yields what an iterable of this data set's batches does.

        Raises:
            OSError: If a file is gone or broken, in one line.
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
    """Which images of batch number `batch` are mirrored: half, bool."""
    # No epoch is negative, so this stream is apart from those of the orders.
    key = tf.stack([tf.constant(seed, tf.int64), -1 - batch])
    return tf.random.stateless_uniform([batch_size], key, alg="philox") < 0.5


@contextlib.contextmanager
def reading(source: str, fix: str):
    """Turns an error of tf.data inside into an OSError of one line.

    Whatever goes wrong in a pipeline, from a missing file to a broken image,
    comes out of its iterator as an error of TensorFlow, with the name of the
    operation before the reason and a traceback after it.

    Args:
        source: What is read, and where it is.
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
            f"{source} cannot be read: {_reason(str(error))}. {fix} A run "
            "then goes on from its last checkpoint by the same command."
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
    # Of `tf.debugging.Assert`, which also quotes quotes.
    line = re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line)
    return f"{line:.300}".replace("\\'", "'").rstrip(". ")
