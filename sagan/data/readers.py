"""Readers that can start a dataset at any position.

A `read` function takes the first position, the batch size, the seed and the
rows of each batch to read, and returns an endless dataset of `(images,
labels)`: uint8 `[rows, image_size, image_size, channels]` and int32 `[rows]`.
"""

import atexit
import threading
import time

import tensorflow as tf

_QUIET_SECONDS = 0.1
_LONGEST_SECONDS = 10.0


def example_order(size: int, seed: int, first: int) -> tf.data.Dataset:
    """Returns the indices of examples from position `first` on: int64.

    Each epoch is a uniformly drawn permutation of `range(size)`.
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
    """Returns a `read` function over arrays in memory.

    Args:
        images: `[size, image_size, image_size, channels]`, uint8.
        labels: `[size]`, int32.
    """

    def gather(indices):
        # The arrays stay in NumPy: TensorFlow would copy constants several
        # times, and into the memory of a GPU.
        return call_python(
            lambda i: (images[i], labels[i]), [indices], [tf.uint8, tf.int32]
        )

    def read(first, batch_size, seed, rows):
        order = example_order(len(images), seed, first)
        order = keep_rows(order, batch_size, rows)
        return order.batch(len(rows), drop_remainder=True).map(
            gather, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

    return read


def read_by_index(load, size: int, prepare):
    """Returns a `read` function that loads each example on demand by index.

    Args:
        load: TensorFlow function from an index to `(image, label)`: uint8
            `[height, width, 3]` and int32 `[]`.
        size: Number of examples.
        prepare: TensorFlow function from that image to the prepared one.
    """

    def example(index):
        image, label = load(index)
        return prepare(image), label

    def read(first, batch_size, seed, rows):
        order = example_order(size, seed, first)
        examples = keep_rows(order, batch_size, rows).map(
            example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return examples.batch(len(rows), drop_remainder=True)

    return read


def read_stream(encoded, size: int, shuffle_buffer: int, decode):
    """Returns a `read` function over a dataset without random access.

    Each epoch reads the encoded examples in an order drawn from (seed, epoch)
    and passes them through a shuffle buffer seeded likewise. To start inside
    an epoch, earlier examples are read and shuffled again but not decoded.

    Args:
        encoded: Function from a seed (int64 tensor) to a dataset of all
            `(bytes, label)`, in an order that depends only on the seed.
        size: Number of examples in it.
        shuffle_buffer: Number of encoded examples to draw from.
        decode: TensorFlow function from bytes to the prepared image.
    """

    def decode_pair(encoded_image, label):
        return decode(encoded_image), label

    def read(first, batch_size, seed, rows):
        def epoch_examples(epoch):
            # `shuffle` mixes in TensorFlow's global seed; fixed here, for this
            # traced function only, so that the order depends only on `seed`.
            tf.random.set_seed(1)
            key = tf.stack([tf.constant(seed, tf.int64), epoch])
            order_seed, buffer_seed = tf.unstack(
                tf.random.stateless_uniform(
                    [2], key, 1, tf.int64.max, tf.int64, alg="philox"
                )
            )
            return encoded(order_seed).shuffle(
                shuffle_buffer, buffer_seed, reshuffle_each_iteration=False
            )

        first_epoch, offset = divmod(first, size)
        epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
        examples = epochs.flat_map(epoch_examples).skip(offset)
        examples = keep_rows(examples, batch_size, rows).map(
            decode_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return examples.batch(len(rows), drop_remainder=True)

    return read


def read_shards(reads):
    """Returns a `read` function over shards, each with its own order.

    Every batch has equally many rows of each shard, in the order of the
    shards. A shard none of whose rows are requested is not read.

    Args:
        reads: The `read` function of each shard; their number must divide the
            batch size.
    """
    if len(reads) == 1:
        return reads[0]

    def read(first, batch_size, seed, rows):
        size = batch_size // len(reads)
        batches = []
        for shard, read_shard in enumerate(reads):
            start = max(rows.start - shard * size, 0)
            stop = min(rows.stop - shard * size, size)
            if start < stop:
                position = first // len(reads)
                # Outside the range of seeds that users give.
                own_seed = seed + shard * 2**32
                own_rows = range(start, stop)
                batches.append(read_shard(position, size, own_seed, own_rows))

        if len(batches) == 1:
            return batches[0]

        def concat(*parts):
            images, labels = zip(*parts, strict=True)
            return tf.concat(images, 0), tf.concat(labels, 0)

        return tf.data.Dataset.zip(*batches).map(concat)

    return read


def keep_rows(examples, batch_size: int, rows: range) -> tf.data.Dataset:
    """Keeps the examples at `rows` of every `batch_size` examples."""
    if len(rows) == batch_size:
        return examples
    return (
        examples.enumerate()
        .filter(
            lambda i, _: (
                (i % batch_size >= rows.start) & (i % batch_size < rows.stop)
            )
        )
        .map(lambda _, example: example)
    )


def call_python(function, inputs, types):
    """Calls a function of NumPy arrays from within a tf.data pipeline.

    Args:
        function: Stateless function from NumPy arrays to NumPy arrays.
        inputs: Tensors to pass to it.
        types: Dtypes of its results.

    Returns:
        Tensors of these dtypes, with unknown shapes.
    """

    def call(*arrays):
        with _CALLS:
            return function(*arrays)

    return tf.numpy_function(call, inputs, types, stateful=False)


class _Calls:
    """Counts started and finished calls, so that exiting can wait for them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = self.ended = 0
        self.closing = False

    def __enter__(self):
        with self.lock:
            self.begun += 1
            if not self.closing:
                return
            self.ended += 1
        raise RuntimeError("Python is shutting down.")

    def __exit__(self, *exception):
        with self.lock:
            self.ended += 1

    def close(self):
        self.closing = True
        begun = -1
        # A call may wait for the interpreter that waits for it.
        deadline = time.monotonic() + _LONGEST_SECONDS
        while begun != self.begun or self.begun != self.ended:
            if time.monotonic() > deadline:
                return
            begun = self.begun
            time.sleep(_QUIET_SECONDS)


_CALLS = _Calls()

atexit.register(_CALLS.close)
