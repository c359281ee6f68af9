from collections.abc import Sequence

import gin
import keras
import tensorflow as tf

from sagan.config import (
    check_booleans,
    check_integers,
    check_size,
)
from sagan.layers.attention import attention_stages
from sagan.layers.blocks import DiscriminatorBlock
from sagan.layers.dense import ClassEmbedding, Dense
from sagan.layers.precision import _dtype_policy
from sagan.layers.recompute import call, call_recomputed

DISCRIMINATOR_WIDTHS = {
    32: (2, 2, 2, 2),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}


# The discriminator's last blocks keep the resolution.
DISCRIMINATOR_FLAT_BLOCKS = {32: 2, 64: 1, 128: 1, 256: 1}


class Discriminator(keras.Model):
    """Images and labels to logits.

    Residual blocks, attention after the first block whose output has a
    resolution in `attention_resolutions`, ReLU, sum over positions, and a
    dense layer, to which the conditional network adds the inner product of
    features and class embedding. The head is in float32.

    Args:
        image_size: Height and width of the images, a key of
            `DISCRIMINATOR_WIDTHS`.
        channels: Of the images, 1 or 3.
        base_channels: Unit of the widths.
        num_classes: Number of classes, or 0 for an unconditional network.
        attention: As the generator's.
        attention_resolutions: As the generator's.
        pointwise: Implementation of all 1x1 convolutions.
        fused_fgh: Whether attention makes f, g and h in one product.
        query_block: Queries that attention takes at a time; 0 for all, None
            for what fits the size of its map.
        spectral_norm: Whether kernels are spectrally normalised.
        fused_resampling: Whether pooling is merged into convolutions.
        low_resolution_shortcut: Whether shortcuts run after pooling.
        recompute: As the generator's.

    Input shape: images `[batch, image_size, image_size, channels]`, float in
        [-1, 1]; labels `[batch]`, integer, unused when unconditional.
    Output shape: `[batch, 1]`, float32.

    Source: `discriminator_test` in discriminator.py of the released code.
    """

    def __init__(
        self,
        image_size,
        channels=3,
        base_channels=64,
        num_classes=0,
        attention="released",
        attention_resolutions=(32,),
        pointwise="conv2d",
        fused_fgh=False,
        query_block=None,
        spectral_norm=True,
        fused_resampling=True,
        low_resolution_shortcut=True,
        recompute=False,
    ):
        super().__init__(name="discriminator")
        self.image_shape = (image_size, image_size, channels)
        self.num_classes = num_classes
        self.call_stage = call_recomputed if recompute else call
        widths = [
            base_channels * width for width in DISCRIMINATOR_WIDTHS[image_size]
        ]
        halvings = len(widths) - DISCRIMINATOR_FLAT_BLOCKS[image_size]
        self.blocks = tuple(
            DiscriminatorBlock(
                width,
                down=i < halvings,
                first=i == 0,
                pointwise=pointwise,
                spectral_norm=spectral_norm,
                fused_resampling=fused_resampling,
                low_resolution_shortcut=low_resolution_shortcut,
            )
            for i, width in enumerate(widths)
        )
        self.attentions = attention_stages(
            [
                image_size // 2 ** min(i + 1, halvings)
                for i in range(len(widths))
            ],
            attention_resolutions,
            attention,
            pointwise,
            spectral_norm,
            fused_fgh,
            query_block,
        )
        self.dense = Dense(1, spectral_norm=spectral_norm, dtype="float32")
        if num_classes:
            self.embedding = ClassEmbedding(
                num_classes,
                widths[-1],
                spectral_norm=spectral_norm,
                dtype="float32",
            )

    def call(self, images, labels=None, training=False):
        features = images
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            features = self.call_stage(block, features, training=training)
            features = self.call_stage(attention, features, training=training)
        features = tf.cast(tf.nn.relu(features), tf.float32)
        features = tf.reduce_sum(features, axis=[1, 2])  # [batch, channels]
        logits = self.dense(features, training=training)  # [batch, 1]
        if self.num_classes:
            embedded = self.embedding(labels, training=training)
            logits += tf.reduce_sum(embedded * features, -1, keepdims=True)
        return logits


@gin.configurable
def build_discriminator(
    image_size: int = gin.REQUIRED,
    channels: int = 3,
    base_channels: int = 64,
    num_classes: int = 0,
    attention: str = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: int | None = None,
    spectral_norm: bool = True,
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    recompute: bool = False,
    precision: str = "float32",
) -> Discriminator:
    """Makes a `Discriminator` with its variables.

    Args:
        precision: Dtype policy, one of `PRECISIONS`. The other arguments are
            those of `Discriminator`.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    check_size(DISCRIMINATOR_WIDTHS, image_size, attention_resolutions)
    check_integers(
        "build_discriminator",
        1,
        channels=channels,
        base_channels=base_channels,
    )
    check_integers("build_discriminator", 0, num_classes=num_classes)
    if query_block is not None:
        check_integers("build_discriminator", 0, query_block=query_block)
    check_booleans(
        "build_discriminator",
        spectral_norm=spectral_norm,
        fused_resampling=fused_resampling,
        low_resolution_shortcut=low_resolution_shortcut,
        recompute=recompute,
        fused_fgh=fused_fgh,
    )
    with _dtype_policy(precision):
        discriminator = Discriminator(
            image_size,
            channels=channels,
            base_channels=base_channels,
            num_classes=num_classes,
            attention=attention,
            attention_resolutions=attention_resolutions,
            pointwise=pointwise,
            fused_fgh=fused_fgh,
            query_block=query_block,
            spectral_norm=spectral_norm,
            fused_resampling=fused_resampling,
            low_resolution_shortcut=low_resolution_shortcut,
            recompute=recompute,
        )
    images = tf.zeros([1, *discriminator.image_shape])
    discriminator(images, tf.zeros([1], tf.int32))
    return discriminator
