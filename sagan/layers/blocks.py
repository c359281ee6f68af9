"""The residual blocks of the generator and of the discriminator.

Their main path is that of the paper, two 3x3 convolutions, or any other
(`block_kinds.py`); the shortcut is the same for all.
"""

import keras

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.composite import Composite
from sagan.layers.conv import Conv3x3, downsample, upsample
from sagan.layers.elementwise import ELEMENTWISE
from sagan.layers.pointwise import Pointwise


class GeneratorBlock(Composite, keras.layers.Layer):
    """Pre-activation residual block that doubles the resolution.

    Main path: norm, ReLU, nearest 2x, 3x3, norm, ReLU, 3x3. Shortcut: nearest
    2x and a 1x1 convolution, even where the width stays the same; the two
    commute, and with `low_resolution_shortcut` the 1x1 runs first.

    Args:
        filters: Number of output channels.
        norm: Recipe for the batch norms: `BatchNorm`, or a `partial` of it.
        conv: Recipe for the 3x3 convolutions, which up-sample if called with
            `resample="up"`.
        pointwise: Recipe for the shortcut.
        low_resolution_shortcut: Whether the 1x1 runs before the up-sampling.
        main_path: Recipe for another main path, or None for that above.
        recalibration: Recipe for what ends the main path, or None.
        skip_bias: Whether training leaves out a bias before a norm, which
            cancels there; its gradient is zero, to rounding in any case.
        elementwise: Computes the ReLU and what comes with it.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: `[batch, 2 * height, 2 * width, filters]`.

    Source: `block` in generator.py of the released code.
    """

    def __init__(
        self,
        filters,
        norm=BatchNorm,
        conv=Conv3x3,
        pointwise=Pointwise,
        low_resolution_shortcut=True,
        main_path=None,
        recalibration=None,
        skip_bias=True,
        elementwise=ELEMENTWISE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.elementwise = elementwise
        self.low_resolution_shortcut = low_resolution_shortcut
        self.skip_bias = skip_bias
        self.main_path = main_path and main_path(
            filters, up="up", down=None, norm=norm, skip_bias=skip_bias
        )
        if not main_path:
            self.norm1 = norm()
            self.conv1 = conv(filters, resample="up")
            self.norm2 = norm()
            self.conv2 = conv(filters)
        self.recalibration = recalibration and recalibration(filters)
        self.shortcut = pointwise(filters)

    def call(self, inputs, labels=None, training=False):
        path = self.main_path or self._convolve
        outputs = path(inputs, labels, training=training)
        if self.recalibration:
            outputs = self.recalibration(outputs, training=training)
        if self.low_resolution_shortcut:
            shortcut = self.shortcut(inputs, training=training)
            return self.elementwise.add_upsampled(outputs, shortcut)
        return outputs + self.shortcut(upsample(inputs), training=training)

    def _convolve(self, inputs, labels, training):
        outputs = self.norm1(
            inputs, labels, training=training, elementwise=self.elementwise
        )
        omit = training and self.skip_bias and self.conv1.use_bias
        outputs = self.conv1(outputs, training=training, add_bias=not omit)
        outputs = self.norm2(
            outputs,
            labels,
            training=training,
            omit_bias_of=self.conv1 if omit else None,
            elementwise=self.elementwise,
        )
        return self.conv2(outputs, training=training)


class DiscriminatorBlock(keras.layers.Layer):
    """Residual block without normalisation that may halve the resolution.

    Main path: ReLU, 3x3, ReLU, 3x3, average pooling. Shortcut: a 1x1
    convolution and average pooling, or the identity where neither width nor
    resolution changes; the two commute, and with `low_resolution_shortcut` the
    pooling runs first. The first block of a network reads images rather than
    features: it has no leading ReLU, and its shortcut always pools first.

    Args:
        filters: Number of hidden and of output channels.
        down: Whether the resolution is halved.
        first: Whether this block reads the images.
        conv: Recipe for the 3x3 convolutions, which pool if called with
            `resample="down"`.
        pointwise: Recipe for the shortcut.
        low_resolution_shortcut: Whether the pooling runs before the 1x1.
        main_path: As in `GeneratorBlock`.
        recalibration: As in `GeneratorBlock`.
        elementwise: Computes the ReLU and what comes with it.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height // 2, width // 2, filters]` with `down`,
        else `[batch, height, width, filters]`.

    Source: `block` and `optimized_block` in discriminator.py of the released
    code.
    """

    def __init__(
        self,
        filters,
        down=True,
        first=False,
        conv=Conv3x3,
        pointwise=Pointwise,
        low_resolution_shortcut=True,
        main_path=None,
        recalibration=None,
        elementwise=ELEMENTWISE,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.elementwise = elementwise
        self.filters = filters
        self.down = down
        self.first = first
        self.pool_first = first or low_resolution_shortcut
        resample = "down" if down else None
        self.main_path = main_path and main_path(
            filters, up=None, down=resample, first=first
        )
        if not main_path:
            self.conv1 = conv(filters)
            self.conv2 = conv(filters, resample=resample)
        self.recalibration = recalibration and recalibration(filters)
        self.shortcut = None
        self.pointwise = pointwise

    def build(self, input_shape):
        if self.down or input_shape[-1] != self.filters:
            self.shortcut = self.pointwise(
                self.filters, dtype=self.dtype_policy, name="shortcut"
            )
            batch, height, width, channels = input_shape
            if self.down and self.pool_first:
                height, width = height // 2, width // 2
            self.shortcut.build((batch, height, width, channels))

    def call(self, inputs, training=False):
        path = self.main_path or self._convolve
        outputs = path(inputs, training=training)
        if self.recalibration:
            outputs = self.recalibration(outputs, training=training)
        return outputs + self._shortcut(inputs, training)

    def _convolve(self, inputs, training):
        outputs = inputs if self.first else self.elementwise.relu(inputs)
        outputs = self.conv1(
            outputs, training=training, elementwise=self.elementwise
        )
        return self.conv2(outputs, training=training)

    def _shortcut(self, inputs, training):
        if self.shortcut is None:
            return inputs
        if not self.down:
            return self.shortcut(inputs, training=training)
        if self.pool_first:
            return self.shortcut(downsample(inputs), training=training)
        return downsample(self.shortcut(inputs, training=training))
