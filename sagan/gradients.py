"""Gradients as an optimiser takes them, of a batch whole or in parts."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from sagan.layers.spectral_norm import spectral_layers


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


def gradients_of(
    loss: Callable,
    network,
    batch: Sequence[tf.Tensor],
    scale_loss: Callable = lambda loss: loss,
    accumulation: int = 1,
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns the gradients of a network's loss on a batch, and scalars.

    With `accumulation` the micro-batches of the batch run one after another in
    a loop, so that the activations of one are held at a time. If the loss and
    the scalars are means over images, the averages are those of the whole
    batch, except for what batch norm does in training: it normalises each
    micro-batch by its own moments, and its moving averages move once for each.
    Each micro-batch starts from the same `u`, and so makes the same power
    iteration; it counts as one.

    Args:
        loss: Called with a batch, arguments as in `batch`; returns the loss
            and a dict of float32 scalars; may run `network` in training.
        network: Whose trainable variables the gradients are of.
        batch: Tensors `[batch, ...]`.
        scale_loss: Function from the loss to the one that is differentiated.
        accumulation: Number of micro-batches, a divisor of the batch.

    Returns:
        Gradients, float32, and the scalars.

    Raises:
        ValueError: If the micro-batches would not be of one size.
    """

    def compute(*batch):
        with tf.GradientTape() as tape:
            value, scalars = loss(*batch)
            scaled = scale_loss(value)
        gradients = tape.gradient(scaled, network.trainable_variables)
        # That of a class table has a slice for each image. Adam would square
        # the slices of one class before it adds them up.
        return [tf.convert_to_tensor(g) for g in gradients], scalars

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

    # The first runs before the loop, whose sums must have a known structure.
    _, sums = tf.while_loop(
        lambda i, _: i < accumulation,
        add_micro_batch,
        (tf.constant(1), compute(*(tensor[0] for tensor in batch))),
        parallel_iterations=1,
        maximum_iterations=accumulation - 1,
    )
    return tf.nest.map_structure(lambda total: total / accumulation, sums)
