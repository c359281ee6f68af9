"""The sequence of batches, a pure function of the seed and the position.

Position p counts examples from the start of training: batch k holds positions
k * batch_size to (k + 1) * batch_size - 1. Epoch p // size visits each example
once, in an order drawn from (seed, epoch) alone, and which images of batch k
are mirrored hangs on (seed, k) alone. So a resumed run starts at any batch
without replaying those before it. A batch may straddle two epochs: none is
dropped.
"""

import tensorflow as tf

from sagan.data.preprocessing import to_unit_range
from sagan.data.python_calls import call_python


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

    def batches(self, first: int = 0) -> tf.data.Dataset:
        """Yields `(images, labels)` forever, from batch `first` on.

        Args:
            first: Number of batches already consumed. `batches(first=k)`
                gives exactly the batches k, k + 1, ... of `batches()`.

        Returns:
            A dataset of images, float32 `[batch_size, image_size, image_size,
            channels]` in [-1, 1], and labels, int32 `[batch_size]` in `[0,
            num_classes)`, or zeros if `num_classes` is 0.
        """
        if first < 0:
            raise ValueError(f"first must not be negative, got {first}.")
        data = self._read(first * self.batch_size, self.batch_size, self.seed)
        data = data.enumerate(start=first).map(
            self._finish,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return data.prefetch(tf.data.AUTOTUNE)

    def steps(self, d_steps: int, first: int = 0) -> tf.data.Dataset:
        """Yields the batches of each training step, from step `first` on.

        Returns:
            A dataset of what `batches` yields, `d_steps` of them stacked:
            images `[d_steps, batch_size, ...]`, labels `[d_steps, batch_size]`.
        """
        data = self.batches(first * d_steps)
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

    def _finish(self, batch, example):
        images, labels = example
        square = [self.batch_size, self.image_size, self.image_size]
        images = tf.ensure_shape(images, [*square, self.channels])
        labels = tf.ensure_shape(labels, [self.batch_size])
        if self._flip:
            chosen = flips(batch, self.batch_size, self.seed)
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


def example_order(size: int, seed: int, first: int) -> tf.data.Dataset:
    """Indices of the examples at positions `first`, `first + 1`, ...: int64.

    Each epoch is a permutation of `range(size)`, uniform among all.
    """
    first_epoch, offset = divmod(first, size)

    def epoch_order(epoch):
        order = tf.random.experimental.stateless_shuffle(
            tf.range(size, dtype=tf.int64),
            tf.stack([tf.constant(seed, tf.int64), epoch]),
            alg="philox",
        )
        seen = tf.where(epoch == first_epoch, offset, 0)
        return tf.data.Dataset.from_tensor_slices(order[seen:])

    return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(
        epoch_order
    )


def read_arrays(images, labels):
    """A `read` function over arrays held in memory.

    A `read` function takes the first position, the batch size and the seed,
    and returns an endless dataset of `(images, labels)`: uint8 `[batch_size,
    image_size, image_size, channels]` and int32 `[batch_size]`.

    Args:
        images: `[size, image_size, image_size, channels]`, uint8.
        labels: `[size]`, int32.
    """

    def gather(indices):
        # The arrays stay in NumPy: as constants of TensorFlow they would be
        # copied several times, and into the memory of a GPU.
        return call_python(
            lambda i: (images[i], labels[i]), [indices], [tf.uint8, tf.int32]
        )

    def read(first, batch_size, seed):
        order = example_order(len(images), seed, first)
        return order.batch(batch_size, drop_remainder=True).map(
            gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    return read


def read_by_index(load, size: int, prepare):
    """A `read` function that loads each example when it is due, by its index.

    Args:
        load: TensorFlow function from an index to `(image, label)`: uint8
            `[height, width, 3]` and int32 `[]`.
        size: Number of examples.
        prepare: TensorFlow function from that image to the prepared one.
    """

    def example(index):
        image, label = load(index)
        return prepare(image), label

    def read(first, batch_size, seed):
        examples = example_order(size, seed, first).map(
            example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return examples.batch(batch_size, drop_remainder=True)

    return read


def read_stream(encoded, size: int, shuffle_buffer: int, decode):
    """A `read` function over a dataset that can only be read front to back.

    Each epoch passes the encoded examples through a shuffle buffer seeded by
    (seed, epoch). To start inside an epoch, the examples before it are read
    and shuffled again but not decoded.

    Args:
        encoded: Dataset of `(bytes, label)`, the same at every pass.
        size: Number of examples in it.
        shuffle_buffer: Number of encoded examples to draw from.
        decode: TensorFlow function from bytes to the prepared image.
    """

    def decode_pair(encoded_image, label):
        return decode(encoded_image), label

    def read(first, batch_size, seed):
        def epoch_examples(epoch):
            # `shuffle` mixes in TensorFlow's global seed; fixed here, inside
            # this traced function alone, so that `seed` decides by itself.
            tf.random.set_seed(1)
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            epoch_seed = tf.random.stateless_uniform(
                [], key, 1, tf.int64.max, tf.int64, alg="philox"
            )
            return encoded.shuffle(
                shuffle_buffer, epoch_seed, reshuffle_each_iteration=False
            )

        first_epoch, offset = divmod(first, size)
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        examples = (
            epochs.flat_map(epoch_examples)
            .skip(offset)
            .map(
                decode_pair,
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
        )
        return examples.batch(batch_size, drop_remainder=True)

    return read
