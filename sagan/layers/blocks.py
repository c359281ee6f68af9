"""The residual blocks of the generator and of the discriminator."""

import keras
import tensorflow as tf

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.conv import Conv3x3, downsample, upsample
from sagan.layers.pointwise import Pointwise


class GeneratorBlock(keras.layers.Layer):
    """Pre-activation residual block that doubles the resolution.

    norm, ReLU, nearest 2x, 3x3, norm, ReLU, 3x3; beside it nearest 2x and a
    1x1 convolution, also where the width stays the same. The two commute:
    with `low_resolution_shortcut` the 1x1 runs first.

    Args:
        filters: Number of output channels.
        num_classes: Of the conditional batch norm, or 0 for the plain one.
        batch_norm_decay: Of the moving moments.
        pointwise: Implementation of the shortcut's 1x1 convolution.
        spectral_norm: Whether kernels are spectrally normalised.
        fused_resampling: Whether the up-sampling is merged into the first
            3x3 convolution.
        low_resolution_shortcut: Whether the 1x1 runs before the up-sampling.
        fused_norm: `fused` of the batch norms.
        synchronized_norm: `synchronized` of the batch norms.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: `[batch, 2 * height, 2 * width, filters]`.

    Source: `block` in generator.py of the released code.
    """

    def __init__(
        self,
        filters,
        num_classes=0,
        batch_norm_decay=0.999,
        pointwise="conv2d",
        spectral_norm=True,
        fused_resampling=True,
        low_resolution_shortcut=True,
        fused_norm=True,
        synchronized_norm=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.low_resolution_shortcut = low_resolution_shortcut
        norm = {
            "decay": batch_norm_decay,
            "fused": fused_norm,
            "synchronized": synchronized_norm,
        }
        self.norm1 = BatchNorm(num_classes, **norm)
        self.conv1 = Conv3x3(
            filters,
            resample="up",
            fused=fused_resampling,
            spectral_norm=spectral_norm,
        )
        self.norm2 = BatchNorm(num_classes, **norm)
        self.conv2 = Conv3x3(filters, spectral_norm=spectral_norm)
        self.shortcut = Pointwise(
            filters, implementation=pointwise, spectral_norm=spectral_norm
        )

    def call(self, inputs, labels=None, training=False):
        outputs = self.norm1(inputs, labels, training=training)
        outputs = self.conv1(tf.nn.relu(outputs), training=training)
        outputs = self.norm2(outputs, labels, training=training)
        outputs = self.conv2(tf.nn.relu(outputs), training=training)
        if self.low_resolution_shortcut:
            return outputs + upsample(self.shortcut(inputs, training=training))
        return outputs + self.shortcut(upsample(inputs), training=training)


class DiscriminatorBlock(keras.layers.Layer):
    """Residual block without normalisation that may halve the resolution.

    ReLU, 3x3, ReLU, 3x3, average pooling; beside it a 1x1 convolution and
    average pooling, or the identity where neither width nor resolution
    changes. The two commute: with `low_resolution_shortcut` the pooling runs
    first. The first block of a network sees images, not features: it has no
    ReLU in front, and its shortcut always pools first.

    Args:
        filters: Number of output channels, and of the hidden ones.
        down: Whether the resolution is halved.
        first: Whether this is the block that reads the images.
        pointwise: Implementation of the shortcut's 1x1 convolution.
        spectral_norm: Whether kernels are spectrally normalised.
        fused_resampling: Whether the pooling is merged into the second 3x3
            convolution.
        low_resolution_shortcut: Whether the pooling runs before the 1x1.

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
        pointwise="conv2d",
        spectral_norm=True,
        fused_resampling=True,
        low_resolution_shortcut=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.down = down
        self.first = first
        self.pool_first = first or low_resolution_shortcut
        self.conv1 = Conv3x3(filters, spectral_norm=spectral_norm)
        self.conv2 = Conv3x3(
            filters,
            resample="down" if down else None,
            fused=fused_resampling,
            spectral_norm=spectral_norm,
        )
        self.shortcut = None
        self.pointwise = pointwise
        self.spectral_norm = spectral_norm

    def build(self, input_shape):
        if self.down or input_shape[-1] != self.filters:
            self.shortcut = Pointwise(
                self.filters,
                implementation=self.pointwise,
                spectral_norm=self.spectral_norm,
                dtype=self.dtype_policy,
                name="shortcut",
            )
            self.shortcut.build(input_shape)

    def call(self, inputs, training=False):
        outputs = inputs if self.first else tf.nn.relu(inputs)
        outputs = self.conv1(outputs, training=training)
        outputs = self.conv2(tf.nn.relu(outputs), training=training)
        return outputs + self._shortcut(inputs, training)

    def _shortcut(self, inputs, training):
        if self.shortcut is None:
            return inputs
        if not self.down:
            return self.shortcut(inputs, training=training)
        if self.pool_first:
            return self.shortcut(downsample(inputs), training=training)
        return downsample(self.shortcut(inputs, training=training))
