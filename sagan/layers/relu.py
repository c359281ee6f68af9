"""ReLU, in bfloat16 on a CPU as a maximum of integers.

TensorFlow computes a maximum of bfloat16 number by number on a CPU, and one of
int16 with vector instructions.
"""

import tensorflow as tf

from sagan.layers.device import on_cpu

# Bits of a NaN without a sign, and of minus infinity: as unsigned numbers, only
# the NaN with a sign are above that.
_NAN = 0x7FC0
_MINUS_INFINITY = 0xFF80


def relu(inputs):
    """Returns `max(inputs, 0)`, by the fastest form for dtype and device.

    All forms are equal, with equal gradients, except where a bfloat16 input
    holds a NaN: then all outputs may be NaN rather than one.

    Args:
        inputs: Any shape, float.
    """
    if inputs.dtype != tf.bfloat16 or not on_cpu():
        return tf.nn.relu(inputs)
    with tf.name_scope("relu"):
        return _integer_relu(inputs)


@tf.custom_gradient
def _integer_relu(inputs):
    """Returns the ReLU of bfloat16.

    Its numbers are ordered as their bits are as int16 as far as they are
    positive, and those with a sign are negative. That would turn a NaN with a
    sign, which is what processors make of 0/0, into 0 and hide it from the
    loss, so if there is one, the maximum is taken with NaN.
    """
    largest = tf.reduce_max(tf.bitcast(inputs, tf.uint16))
    floor = tf.where(largest > _MINUS_INFINITY, _NAN, 0)
    bits = tf.bitcast(inputs, tf.int16)
    bits = tf.maximum(bits, tf.cast(floor, tf.int16))
    outputs = tf.bitcast(bits, tf.bfloat16)

    def backward(gradient):
        return tf.raw_ops.ReluGrad(gradients=gradient, features=outputs)

    return outputs, backward
