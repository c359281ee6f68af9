"""What the replicas of a strategy do together.

A replica is one device's copy of the networks; `tf.distribute` runs the same
function on each, with its part of the global batch. With one replica, and
outside `strategy.run` (except for `run_on_replicas`), these functions return
their arguments unchanged.

An all-reduce cannot be inside a `tf.function` within the replicas' function.
"""

import functools
from collections.abc import Callable

import tensorflow as tf


def num_replicas() -> int:
    """Returns the number of replicas that run the current function."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def is_mirrored(strategy: tf.distribute.Strategy) -> bool:
    """Whether all replicas are devices of this process."""
    return isinstance(strategy, tf.distribute.MirroredStrategy)


def mean_over_replicas(tensors):
    """Averages tensors over the replicas, in one all-reduce.

    Means over a replica's images become means over the global batch. The
    gradient passes through, so the mean over replicas of a variable's
    gradients is the gradient of the mean of their losses.

    Args:
        tensors: Structure of float32 tensors of known shapes, the same on
            every replica.

    Returns:
        The same structure of means, identical on all replicas.
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


def replica_slice(tensors, size: int):
    """Slices a global batch to the rows of this replica.

    Args:
        tensors: Structure of tensors `[size * replicas, ...]`.
        size: Rows per replica.

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


def run_on_replicas(
    function: Callable, strategy: tf.distribute.Strategy
) -> Callable:
    """Splits the rows a function is called with among the replicas.

    All workers must call the result with the same rows, and each gets the
    results of all. With one replica it is `function` itself; with more it is
    compiled, because eager replicas would run one after the other.

    Args:
        function: Maps arrays `[n, ...]` to a structure of tensors `[n, ...]`
            or None; each row of a result depends on the same rows alone.
        strategy: Strategy of the replicas. Variables of `function` should have
            been created in its scope, so that each replica has its own copy.

    Returns:
        The same function, for any number of rows.
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
        # One trace for any number of rows: each replica is traced separately.
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
    """Distributes the batches of each step among the replicas.

    Each worker reads the rows of the global batch that its replicas work on.

    Args:
        strategy: Strategy of the replicas.
        dataset: An `ImageDataset` whose batch size their number divides.
        d_steps: Batches per step.
        first: First step.

    Returns:
        An endless iterator like `ImageDataset.steps`, with the rows of one
        replica.
    """
    size = dataset.batch_size // strategy.num_replicas_in_sync

    def pipeline(context):
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        start = context.input_pipeline_id * replicas * size
        rows = range(start, start + replicas * size)
        steps = dataset.steps(d_steps, first, rows)
        if replicas > 1:
            # One element per replica, in the order of their rows.
            steps = steps.map(
                lambda *batch: tuple(_split_rows(x, replicas) for x in batch)
            ).unbatch()
        # Otherwise workers agree before each element on whether all have one.
        endless = tf.data.experimental.INFINITE_CARDINALITY
        return steps.apply(tf.data.experimental.assert_cardinality(endless))

    return iter(strategy.distribute_datasets_from_function(pipeline))


def _split_rows(tensor, parts):
    """`[d_steps, rows, ...]` to `[parts, d_steps, rows / parts, ...]`."""
    return tf.stack(tf.split(tensor, parts, axis=1))


def check_replicas(
    strategy: tf.distribute.Strategy, batch_size: int, accumulation: int
) -> None:
    """Checks that the replicas divide the global batch.

    Raises:
        ValueError: If they do not, naming the numbers.
    """
    parts = strategy.num_replicas_in_sync * accumulation
    if batch_size % parts:
        raise ValueError(
            f"make_dataset.batch_size is {batch_size}, the batch of all "
            f"devices together: expected a multiple of {parts}, their number "
            f"{strategy.num_replicas_in_sync} times train.accumulation = "
            f"{accumulation}."
        )
