"""Scale and shift whose gradients are summed in float32.

The gradient of a bias, a gain or a gate is a sum over the batch and all
positions. Accumulated in bfloat16, as TensorFlow's `BiasAddGrad` does on a CPU,
such a sum stops growing after 256 addends of equal size.
"""

import tensorflow as tf


@tf.custom_gradient
def shift(inputs, bias):
    """Returns `inputs + bias`, in the dtype of `inputs`.

    Args:
        inputs: `[..., channels]`, float.
        bias: Broadcasts to `inputs`, float32.
    """

    def backward(gradient):
        return gradient, _sum_like(tf.cast(gradient, tf.float32), bias)

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
        products = tf.cast(gradient, tf.float32) * tf.cast(inputs, tf.float32)
        return gradient * factor, _sum_like(products, gain)

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


def _sum_like(values, parameter):
    """Sums over the axes along which `parameter` is broadcast to `values`."""
    if parameter.shape.rank == 1:
        # The kernel for a vector of channels; it is correct in float32.
        return tf.raw_ops.BiasAddGrad(out_backprop=values)
    missing = values.shape.rank - parameter.shape.rank
    axes = [missing + i for i, n in enumerate(parameter.shape) if n == 1]
    sums = tf.reduce_sum(values, [*range(missing), *axes])
    return tf.reshape(sums, tf.shape(parameter))
