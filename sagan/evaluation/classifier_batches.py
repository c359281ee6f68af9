"""Batches that a classifier learns: shifted images, turned images."""

import tensorflow as tf

from sagan.data.batches import ImageDataset


def shifted_batches(
    dataset: ImageDataset, padding: int, seed: int
) -> tf.data.Dataset:
    """Returns the batches of a dataset, with every image randomly shifted.

    Args:
        dataset: The dataset.
        padding: Largest shift in pixels, vertically and horizontally; the
            image is reflected at its border.
        seed: Seed for the shifts, which depend only on it and on the number
            of the batch.

    Returns:
        As `dataset.batches()`: endless, and the same in every pass.

    Source: He et al. (2016), arXiv:1512.03385, section 4.2, with reflections
    instead of zeros.
    """
    # The keys of orders and flips start with a seed that is not negative.
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
        # Rows and columns of the padded image to keep: [2, batch, size].
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


def turned_batches(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Turns images by quarters of a circle, and labels them by how many.

    Image `i` of batch `b` is turned `(i + b) % 4` times: as often each way in
    every batch, and as the order changes, differently in every epoch.

    Args:
        batches: Images `[batch, size, size, channels]`, and labels, unused.

    Returns:
        The images, turned counter-clockwise, and labels `[batch]` in `[0, 4)`,
        int32.

    Source: Gidaris et al. (2018), arXiv:1803.07728, section 2.1, where each
    image is in a batch in all four ways.
    """

    def turn(batch, example):
        images, _ = example
        rows = tf.range(tf.shape(images)[0])
        turns = (rows + tf.cast(batch, tf.int32)) % 4
        ways = tf.stack([tf.image.rot90(images, k) for k in range(4)])
        return tf.gather_nd(ways, tf.stack([turns, rows], axis=1)), turns

    turned = batches.enumerate().map(
        turn, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return turned.prefetch(tf.data.AUTOTUNE)
