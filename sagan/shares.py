"""The part of each batch that a replica takes."""

import tensorflow as tf

from sagan.data import ImageDataset


def distribute_steps(
    strategy: tf.distribute.Strategy,
    dataset: ImageDataset,
    d_steps: int,
    first: int,
):
    """Yields the batches of each step as the replicas take them.

    Each worker reads the rows of the global batch that its replicas work on.

    Args:
        strategy: Whose replicas.
        dataset: Of global batches; the replicas' number divides them.
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
