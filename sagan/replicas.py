"""What the replicas of a training step do together.

A replica is one device's copy of the networks; `tf.distribute` runs the same
function on each, with its part of the global batch. With one replica, and
outside of `strategy.run`, these functions leave everything as it is.

An all-reduce cannot be inside a `tf.function` within the replicas' function.
"""

import tensorflow as tf


def num_replicas() -> int:
    """Returns how many replicas run what is being run."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def mean_over_replicas(tensors):
    """Averages tensors over the replicas, in one all-reduce.

    If they are means over a replica's images, the results are those over the
    global batch. The gradient passes through, so that the mean over replicas
    of a variable's gradients is that of the mean of their losses.

    Args:
        tensors: Structure of float32 tensors of known shapes, the same on
            every replica.

    Returns:
        The same structure of means, equal on all replicas.
    """
    if num_replicas() == 1:
        return tensors
    parts = tf.nest.flatten(tensors)
    packed = tf.concat([tf.reshape(part, [-1]) for part in parts], 0)
    packed = tf.distribute.get_replica_context().all_reduce(
        tf.distribute.ReduceOp.MEAN, packed
    )
    means = tf.split(packed, [part.shape.num_elements() for part in parts])
    means = [
        tf.reshape(mean, part.shape)
        for mean, part in zip(means, parts, strict=True)
    ]
    return tf.nest.pack_sequence_as(tensors, means)


def own_rows(tensors, size: int):
    """Returns the rows of a global batch that this replica works on.

    Args:
        tensors: Structure of tensors `[size * replicas, ...]`.
        size: Rows of each replica.

    Returns:
        The same structure of tensors `[size, ...]`.
    """
    if num_replicas() == 1:
        return tensors
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    start = tf.cast(replica, tf.int32) * size

    def rows(tensor):
        part = tensor[start : start + size]
        return tf.ensure_shape(part, [size, *tensor.shape[1:]])

    return tf.nest.map_structure(rows, tensors)
