"""How a network computes ReLU, and what comes right before or after it."""

import tensorflow as tf

from sagan.layers import fused_elementwise
from sagan.layers.affine import scale, shift
from sagan.layers.conv import upsample
from sagan.layers.relu import relu


class Elementwise:
    """The elementwise operations between convolutions.

    Args:
        integer_relu: Whether the ReLU of bfloat16 on a CPU is a maximum of
            integers.
        fused: Whether ReLU after a gain or a bias, and the sum with an
            up-sampled shortcut, are one operation where that pays.
    """

    def __init__(self, integer_relu=True, fused=True):
        self.relu = relu if integer_relu else tf.nn.relu
        self.fused = fused

    def affine_relu(self, inputs, gain, bias):
        """Returns `relu(inputs * gain + bias)`.

        Args:
            inputs: `[batch, height, width, channels]`, float.
            gain: Broadcasts to `inputs`, float32; None for 1.
            bias: Likewise.
        """
        if self.fused and fused_elementwise.pays(inputs):
            return fused_elementwise.affine_relu(inputs, gain, bias)
        outputs = inputs if gain is None else scale(inputs, gain)
        return self.relu(shift(outputs, bias))

    def add_upsampled(self, inputs, residual):
        """Returns `inputs + upsample(residual)`.

        Args:
            inputs: `[batch, 2 * height, 2 * width, channels]`, float.
            residual: `[batch, height, width, channels]`, of the same dtype.
        """
        if self.fused and fused_elementwise.pays(inputs):
            return fused_elementwise.add_upsampled(inputs, residual)
        return inputs + upsample(residual)


ELEMENTWISE = Elementwise()
