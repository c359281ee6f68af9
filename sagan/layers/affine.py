"""Scale and shift whose gradients are summed in float32.

The gradient of a bias, a gain or a gate is a sum over the batch and all
positions. Accumulated in bfloat16, as TensorFlow's `BiasAddGrad` does on a CPU,
such a sum stops growing after 256 addends of equal size.
"""

import tensorflow as tf

from sagan.layers.device import on_cpu


@tf.custom_gradient
def shift(inputs, bias):
    """Returns `inputs + bias`, in the dtype of `inputs`.

    Args:
        inputs: `[..., channels]`, float.
        bias: Broadcasts to `inputs`, float32.
    """

    def backward(gradient):
        return gradient, sum_like(gradient, bias)

    return inputs + tf.cast(bias, inputs.dtype), backward


@tf.custom_gradient
def scale(inputs, gain):
    """Returns `inputs * gain`, in the dtype of `inputs`.

    Args:
        inputs: `[..., channels]`, float.
        gain: Broadcasts to `inputs`, float32.
    """
    factor = tf.cast(gain, inputs.dtype)

    def backward(gradient):
        return gradient * factor, sum_like(gradient, gain, inputs)

    return inputs * factor, backward


@tf.custom_gradient
def cancelled(inputs, bias):
    """Returns `inputs`, as a function of a bias that cancels afterwards.

    Its gradient is zero, rather than none, which optimisers refuse.

    Args:
        inputs: Any shape, float.
        bias: Any shape, float.
    """
    return tf.identity(inputs), lambda gradient: (gradient, tf.zeros_like(bias))


def sum_like(values, parameter, factors=None):
    """Sums over the axes along which `parameter` is broadcast to `values`.

    In bfloat16 on a CPU, the sum over the positions of an image is a product
    with ones: it accumulates in float32, and is rounded once.

    Args:
        values: `[..., channels]`, float.
        parameter: Broadcasts to `values`.
        factors: Multiply `values` first; None for 1.

    Returns:
        float32, of the shape of `parameter`.
    """
    if values.dtype != tf.bfloat16 or not _sums_over_positions(
        values, parameter
    ):
        values = tf.cast(values, tf.float32)
    if factors is not None:
        values *= tf.cast(factors, values.dtype)
    if values.dtype == tf.bfloat16:
        values = _sums_of_images(values)
    if parameter.shape.rank == 1:
        # The kernel for a vector of channels; it is correct in float32.
        return tf.raw_ops.BiasAddGrad(out_backprop=values)
    missing = values.shape.rank - parameter.shape.rank
    axes = [missing + i for i, n in enumerate(parameter.shape) if n == 1]
    sums = tf.reduce_sum(values, [*range(missing), *axes])
    return tf.reshape(sums, tf.shape(parameter))


def _sums_over_positions(values, parameter):
    """Returns whether `values` are feature maps, each summed as a whole."""
    if values.shape.rank != 4 or not on_cpu():
        return False
    return parameter.shape.rank < 2 or parameter.shape[1:3] == (1, 1)


def _sums_of_images(values):
    """Sums over positions: `[b, h, w, c]`, bfloat16, to `[b, 1, 1, c]`."""
    batch, height, width, channels = tf.unstack(tf.shape(values))
    positions = height * width
    ones = tf.ones([batch, 1, positions], values.dtype)
    values = tf.reshape(values, [batch, positions, channels])
    sums = tf.cast(tf.matmul(ones, values), tf.float32)
    return tf.reshape(sums, [batch, 1, 1, channels])
