"""How a network computes ReLU, and what comes right before or after it."""

import tensorflow as tf

from sagan.layers import one_pass
from sagan.layers.affine import scale, shift
from sagan.layers.conv import upsample
from sagan.layers.relu import relu


class Elementwise:
    """The elementwise operations between convolutions.

    Args:
        integer_relu: Whether the ReLU of bfloat16 on a CPU is a maximum of
            integers.
        one_pass: Whether, in training on a CPU, ReLU after a gain or a bias
            and the sum with an up-sampled shortcut are one pass over memory,
            where that pays.
    """

    def __init__(self, integer_relu=True, one_pass=True):
        self.relu = relu if integer_relu else tf.nn.relu
        self.one_pass = one_pass

    def affine_relu(self, inputs, gain, bias, training=False):
        """Returns `relu(inputs * gain + bias)`.

        Args:
            inputs: `[batch, height, width, channels]`, float.
            gain: Broadcasts to `inputs`, float32; None for 1.
            bias: Likewise.
            training: Whether it may be one pass.
        """
        if self.one_pass and training and one_pass.pays(inputs):
            return one_pass.affine_relu(inputs, gain, bias)
        outputs = inputs if gain is None else scale(inputs, gain)
        return self.relu(shift(outputs, bias))

    def add_upsampled(self, inputs, residual, training=False):
        """Returns `inputs + upsample(residual)`.

        Args:
            inputs: `[batch, 2 * height, 2 * width, channels]`, float.
            residual: `[batch, height, width, channels]`, of the same dtype.
            training: Whether it may be one pass.
        """
        if self.one_pass and training and one_pass.pays(inputs):
            return one_pass.add_upsampled(inputs, residual)
        return inputs + upsample(residual)
