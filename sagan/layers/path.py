"""The parts of a main path: its layers in order, and 1x1 convolutions."""

import keras

from sagan.layers.composite import Composite
from sagan.layers.conv import downsample, upsample
from sagan.layers.elementwise import ELEMENTWISE
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

    @property
    def bias(self):
        return self.pointwise.bias

    def call(self, inputs, training=False, add_bias=True):
        if self.before:
            inputs = self.before(inputs)
        outputs = self.pointwise(inputs, training=training, add_bias=add_bias)
        return self.after(outputs) if self.after else outputs


class Path(Composite, keras.layers.Layer):
    """Layers one after another, each after [batch norm and] ReLU.

    Args:
        stages: The layers.
        norm: Recipe for the batch norms, or None for none.
        first: Whether nothing comes before the first layer.
        elementwise: As in `GeneratorBlock`.
        skip_bias: As in `GeneratorBlock`, of each layer before a norm.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: that of the last layer.
    """

    def __init__(
        self,
        stages,
        norm=None,
        first=False,
        elementwise=ELEMENTWISE,
        skip_bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.stages = tuple(stages)
        self.first = first
        self.elementwise = elementwise
        self.skip_bias = skip_bias
        self.norms = tuple(norm() for _ in self.stages[first:] if norm)

    def call(self, inputs, labels=None, training=False):
        outputs, norms, omitted = inputs, iter(self.norms), None
        for i, stage in enumerate(self.stages):
            if i or not self.first:
                if norm := next(norms, None):
                    outputs = norm(
                        outputs,
                        labels,
                        training=training,
                        omit_bias_of=omitted,
                        elementwise=self.elementwise,
                    )
                else:
                    outputs = self.elementwise.relu(outputs)
            last = i == len(self.stages) - 1
            omit = training and self.skip_bias and self.norms and not last
            omitted = stage if omit else None
            outputs = stage(outputs, training=training, add_bias=not omit)
        return outputs
