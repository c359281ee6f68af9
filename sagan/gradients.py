"""Gradients of a loss on a batch, whole or accumulated over micro-batches."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sagan.layers.fused_elementwise import fusing
from sagan.layers.spectral_norm import spectral_layers


def global_norm(gradients, optimizer) -> tf.Tensor:
    """Returns the global norm of gradients, with the loss scale divided out."""
    norm = tf.linalg.global_norm(gradients)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        norm /= tf.cast(optimizer.dynamic_scale, tf.float32)
    return norm


def check_divides(accumulation: int, batch_size: int) -> None:
    """Checks that a batch splits into `accumulation` equal micro-batches.

    Raises:
        ValueError: If it does not, naming both numbers.
    """
    if batch_size % accumulation:
        raise ValueError(
            f"train.accumulation is {accumulation}, which does not divide the "
            f"batch of {batch_size} images: expected a divisor of "
            "make_dataset.batch_size."
        )


def gradients_of(
    loss: Callable,
    network,
    batch: Sequence[tf.Tensor | None],
    scale_loss: Callable = lambda loss: loss,
    accumulation: int = 1,
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the gradients of a network's loss on a batch, and scalars.

    With `accumulation`, micro-batches run one after another in a loop, so that
    only one holds its activations at a time. If the loss and the scalars are
    means over images, the result is that of the whole batch, except for batch
    norm in training: it normalises each micro-batch by its own moments, and
    updates its moving averages once per micro-batch. Every micro-batch starts
    from the same `u`, hence makes the same power iteration; it counts as one.

    Args:
        loss: Function of the tensors in `batch`; returns the loss and a dict
            of float32 scalars; may run `network` in training mode.
        network: Network whose trainable variables to differentiate.
        batch: Tensors `[batch, ...]`, or None, which `loss` gets as it is.
        scale_loss: Function applied to the loss before differentiation.
        accumulation: Number of micro-batches, a divisor of the batch size.

    Returns:
        Gradients, float32, and the scalars.

    Raises:
        ValueError: If the micro-batches would differ in size.
    """

    def compute(*batch):
        with fusing():
            with tf.GradientTape() as tape:
                value, scalars = loss(*batch)
                scaled = scale_loss(value)
            gradients = tape.gradient(scaled, network.trainable_variables)
        # The gradient of a class table has one slice per image. Adam would
        # square the slices of a class before summing them.
        return [tf.convert_to_tensor(g) for g in gradients], scalars

    if accumulation == 1:
        return compute(*batch)
    batch_size = batch[0].shape[0]
    check_divides(accumulation, batch_size)
    size = batch_size // accumulation
    # Split before the loop: XLA needs static shapes inside it.
    batch = [
        None
        if tensor is None
        else tf.reshape(tensor, [accumulation, size, *tensor.shape[1:]])
        for tensor in batch
    ]

    def part(i):
        return [None if tensor is None else tensor[i] for tensor in batch]

    vectors = [layer.u for layer in spectral_layers(network)]
    starts = [tf.identity(u) for u in vectors]

    def add_micro_batch(i, sums):
        for u, start in zip(vectors, starts, strict=True):
            u.assign(start)
        parts = compute(*part(i))
        return i + 1, tf.nest.map_structure(tf.add, sums, parts)

    # The first runs before the loop, which needs the structure of its sums.
    _, sums = tf.while_loop(
        lambda i, _: i < accumulation,
        add_micro_batch,
        (tf.constant(1), compute(*part(0))),
        parallel_iterations=1,
        maximum_iterations=accumulation - 1,
    )
    return tf.nest.map_structure(lambda total: total / accumulation, sums)
