"""Batches whose images are shifted at random, as repeatable as the batches."""

import tensorflow as tf

from sagan.data.batches import ImageDataset


def shifted_batches(
    dataset: ImageDataset, padding: int, seed: int
) -> tf.data.Dataset:
    """The batches of a data set, each image at a place of its own.

    Args:
        dataset: What to read.
        padding: The largest shift in pixels, up or down and left or right;
            what comes into view is the reflection of the image at its border.
        seed: With the number of a batch it alone decides on the shifts.

    Returns:
        As `dataset.batches()`: endless, and the same at every pass.

    Source: He et al. (2016), arXiv:1512.03385, section 4.2, with reflections
    instead of zeros.
    """
    # Keys of the orders and the flips begin with a seed, which is not negative.
    stream = tf.constant(-1 - seed, tf.int64)

    def shift(batch, example):
        images, labels = example
        starts = tf.random.stateless_uniform(
            [2, dataset.batch_size],
            tf.stack([stream, batch]),
            0,
            2 * padding + 1,
            tf.int32,
            alg="philox",
        )
        # Which rows and which columns of an image stay: [2, batch, size].
        rows, columns = tf.unstack(
            starts[..., None] + tf.range(dataset.image_size)
        )
        sides = [padding, padding]
        images = tf.pad(images, [[0, 0], sides, sides, [0, 0]], "REFLECT")
        images = tf.gather(images, rows, axis=1, batch_dims=1)
        return tf.gather(images, columns, axis=2, batch_dims=1), labels

    if not padding:
        return dataset.batches()
    return (
        dataset.batches()
        .enumerate()
        .map(shift, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )
