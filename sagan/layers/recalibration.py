"""Channel recalibration: a gate per channel from two 1x1 convolutions."""

import keras
import tensorflow as tf

from sagan.layers.affine import scale
from sagan.layers.composite import Composite
from sagan.layers.pointwise import Pointwise

# Channels for each hidden unit, the reduction ratio of the paper.
REDUCTION = 16


class Recalibration(Composite, keras.layers.Layer):
    """`x * sigmoid(expand(relu(reduce(mean(x)))))` (squeeze and excitation).

    The mean over positions, the sigmoid and the sums in the gates' gradients
    are float32 under every dtype policy.

    Args:
        filters: Number of channels.
        pointwise: Recipe for the two 1x1 convolutions, which run on one
            position per image.

    Input shape: `[batch, height, width, filters]`, float.
    Output shape: as the input, in `compute_dtype`.

    Source: Hu et al. (2018), arXiv:1709.01507, figure 3; with biases, which
    its equation 3 leaves out.
    """

    def __init__(self, filters, pointwise=Pointwise, **kwargs):
        super().__init__(**kwargs)
        self.reduce = pointwise(max(1, filters // REDUCTION))
        self.expand = pointwise(filters)

    def call(self, inputs, training=False):
        outputs = tf.reduce_mean(
            tf.cast(inputs, tf.float32), axis=[1, 2], keepdims=True
        )  # [batch, 1, 1, filters]
        outputs = tf.nn.relu(self.reduce(outputs, training=training))
        outputs = self.expand(outputs, training=training)
        return scale(inputs, tf.sigmoid(tf.cast(outputs, tf.float32)))
