"""The parts of a main path: its layers in order, and 1x1 convolutions."""

import keras
import tensorflow as tf

from sagan.layers.composite import Composite
from sagan.layers.conv import downsample, upsample
from sagan.layers.pointwise import Pointwise


class Projection(Composite, keras.layers.Layer):
    """1x1 convolution at the lower of the resolutions before and after it.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` (nearest 2x before the convolution) or `"down"`
            (2x2 average pooling after it).
        fused: Whether it runs before the up-sampling and after the pooling,
            with which it commutes.
        pointwise: Recipe for the convolution.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.
    """

    def __init__(
        self, filters, resample=None, fused=True, pointwise=Pointwise, **kwargs
    ):
        super().__init__(**kwargs)
        self.before, self.after = {
            None: (None, None),
            "up": (upsample, None),
            "down": (None, downsample),
        }[resample]
        if fused:
            self.before, self.after = self.after, self.before
        self.pointwise = pointwise(filters)

    def call(self, inputs, training=False):
        if self.before:
            inputs = self.before(inputs)
        outputs = self.pointwise(inputs, training=training)
        return self.after(outputs) if self.after else outputs


class Path(Composite, keras.layers.Layer):
    """Layers one after another, each after [batch norm and] ReLU.

    Args:
        stages: The layers.
        norm: Recipe for the batch norms, or None for none.
        first: Whether nothing comes before the first layer.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: that of the last layer.
    """

    def __init__(self, stages, norm=None, first=False, **kwargs):
        super().__init__(**kwargs)
        self.stages = tuple(stages)
        self.first = first
        self.norms = tuple(norm() for _ in self.stages[first:] if norm)

    def call(self, inputs, labels=None, training=False):
        outputs, norms = inputs, iter(self.norms)
        for i, stage in enumerate(self.stages):
            if i or not self.first:
                norm = next(norms, None)
                outputs = activate(outputs, norm, labels, training)
            outputs = stage(outputs, training=training)
        return outputs


def activate(inputs, norm, labels, training):
    """Returns ReLU of the inputs, after batch norm if `norm` is not None."""
    if norm is not None:
        inputs = norm(inputs, labels, training=training)
    return tf.nn.relu(inputs)
