"""What the replicas of a strategy do together.

A replica is one device's copy of the networks; `tf.distribute` runs the same
function on each, with its part of the global batch. With one replica, and
but for `spread` outside of `strategy.run`, these functions leave everything as
it is.

An all-reduce cannot be inside a `tf.function` within the replicas' function.
"""

import functools
from collections.abc import Callable

import tensorflow as tf


def num_replicas() -> int:
    """Returns how many replicas run what is being run."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def is_mirrored(strategy: tf.distribute.Strategy) -> bool:
    """Whether the replicas are devices of this one process."""
    return isinstance(strategy, tf.distribute.MirroredStrategy)


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


def spread(function: Callable, strategy: tf.distribute.Strategy) -> Callable:
    """Has each replica call a function with its part of the rows.

    All workers must call what is returned with the same rows, and each gets
    the results of all. With one replica it is `function`; with more it is
    compiled, since uncompiled they would wait for one another.

    Args:
        function: From arrays `[n, ...]` to a structure of tensors `[n, ...]`
            or None, each row a function of the same rows alone.
        strategy: Whose replicas. Variables of `function` should have been
            made in its scope, so that each replica has them at hand.

    Returns:
        The same function, of any number of rows.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return function

    def own(tensor):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.reshape(tensor, [replicas, -1, *tensor.shape[1:]])[replica]

    def join(results):
        if results is None:
            return None
        parts = strategy.experimental_local_results(results)
        if len(parts) == replicas:
            return tf.concat(parts, 0)
        return strategy.gather(results, axis=0)

    @functools.partial(tf.function, autograph=False)
    def call(*rows):
        results = strategy.run(lambda: function(*map(own, rows)))
        return tf.nest.map_structure(join, results)

    def padded(*rows):
        n = len(rows[0])
        rows = [_pad(tf.convert_to_tensor(x), -n % replicas) for x in rows]
        # Traced once for any number of rows: each replica is traced apart.
        specs = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in rows]
        results = call.get_concrete_function(*specs)(*rows)
        return tf.nest.map_structure(
            lambda x: None if x is None else x[:n], results
        )

    return padded


def _pad(tensor, rows):
    """Appends rows of zeros."""
    return tf.pad(tensor, [[0, rows], *[[0, 0]] * (tensor.shape.rank - 1)])


def distribute_steps(
    strategy: tf.distribute.Strategy,
    dataset,
    d_steps: int,
    first: int,
):
    """Yields the batches of each step as the replicas take them.

    Each worker reads the rows of the global batch that its replicas work on.

    Args:
        strategy: Whose replicas.
        dataset: An `ImageDataset`; the replicas' number divides them.
        d_steps: Batches a step.
        first: The first step.

    Returns:
        An endless iterator of what `ImageDataset.steps` yields, with as many
        rows as are one replica's.
    """
    size = dataset.batch_size // strategy.num_replicas_in_sync

    def pipeline(context):
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        start = context.input_pipeline_id * replicas * size
        rows = range(start, start + replicas * size)
        steps = dataset.steps(d_steps, first, rows)
        if replicas > 1:
            # One element a replica, in the order of their rows.
            steps = steps.map(
                lambda *batch: tuple(_split_rows(x, replicas) for x in batch)
            ).unbatch()
        # Else workers ask each other before each element whether all have one.
        endless = tf.data.experimental.INFINITE_CARDINALITY
        return steps.apply(tf.data.experimental.assert_cardinality(endless))

    return iter(strategy.distribute_datasets_from_function(pipeline))


def _split_rows(tensor, parts):
    """`[d_steps, rows, ...]` to `[parts, d_steps, rows / parts, ...]`."""
    return tf.stack(tf.split(tensor, parts, axis=1))


def check_replicas(
    strategy: tf.distribute.Strategy, batch_size: int, accumulation: int
) -> None:
    """Checks that the global batch can be divided among the replicas.

    Raises:
        ValueError: If it cannot, naming the numbers.
    """
    parts = strategy.num_replicas_in_sync * accumulation
    if batch_size % parts:
        raise ValueError(
            f"make_dataset.batch_size is {batch_size}, the batch of all "
            f"devices together: expected a multiple of {parts}, their number "
            f"{strategy.num_replicas_in_sync} times train.accumulation = "
            f"{accumulation}."
        )
