"""Gradients as an optimiser takes them, of a batch whole or in parts."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sagan.layers.spectral_norm import spectral_layers


def dense_gradients(tape, loss, variables) -> list[tf.Tensor]:
    """Returns gradients as tensors.

    That of a class table has a slice for each image. Adam would square the
    slices of one class before it adds them up.
    """
    return [
        tf.convert_to_tensor(gradient)
        for gradient in tape.gradient(loss, variables)
    ]


def global_norm(gradients, optimizer) -> tf.Tensor:
    """Returns their global norm, without the loss scale they carry."""
    norm = tf.linalg.global_norm(gradients)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        norm /= tf.cast(optimizer.dynamic_scale, tf.float32)
    return norm


def check_divides(accumulation: int, batch_size: int) -> None:
    """Checks that a batch can be cut into `accumulation` equal parts.

    Raises:
        ValueError: If it cannot, naming both numbers.
    """
    if batch_size % accumulation:
        raise ValueError(
            f"train.accumulation is {accumulation}, which does not divide the "
            f"batch of {batch_size} images: expected a divisor of "
            "make_dataset.batch_size."
        )


def accumulate(
    compute: Callable,
    network,
    batch: Sequence[tf.Tensor],
    accumulation: int,
    names: Sequence[str],
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """Averages gradients and scalars over the micro-batches of a batch.

    They run one after another in a loop, so that the activations of one are
    held at a time. If `compute` returns means over images, the averages are
    those of the whole batch, but for what batch norm does in training: it
    normalises each micro-batch by its own moments, and its moving averages
    move once for each. Each micro-batch starts from the same `u`, and so
    makes the same power iteration; it counts as one.

    Args:
        compute: Called with a micro-batch, arguments as in `batch`; returns
            the gradients of the network's trainable variables, and a dict of
            float32 scalars.
        network: Whose gradients they are; `compute` may run it in training.
        batch: Tensors `[batch, ...]`.
        accumulation: Number of micro-batches. With one, `compute` is called
            on the batch as it is.
        names: The keys of the scalars.

    Returns:
        What `compute` does.

    Raises:
        ValueError: If the micro-batches would not be of one size.
    """
    if accumulation == 1:
        return compute(*batch)
    batch_size = batch[0].shape[0]
    check_divides(accumulation, batch_size)
    size = batch_size // accumulation
    # Cut before the loop: XLA needs to know the shapes inside.
    batch = [
        tf.reshape(tensor, [accumulation, size, *tensor.shape[1:]])
        for tensor in batch
    ]
    vectors = [layer.u for layer in spectral_layers(network)]
    starts = [tf.identity(u) for u in vectors]

    def add_micro_batch(i, sums):
        for u, start in zip(vectors, starts, strict=True):
            u.assign(start)
        parts = compute(*(tensor[i] for tensor in batch))
        return i + 1, tf.nest.map_structure(tf.add, sums, parts)

    zeros = (
        [tf.zeros(v.shape, v.dtype) for v in network.trainable_variables],
        dict.fromkeys(names, tf.constant(0.0)),
    )
    _, sums = tf.while_loop(
        lambda i, _: i < accumulation,
        add_micro_batch,
        (0, zeros),
        parallel_iterations=1,
        maximum_iterations=accumulation,
    )
    return tf.nest.map_structure(lambda total: total / accumulation, sums)
