"""The projection discriminator of SAGAN, at any resolution."""

from collections.abc import Sequence
from functools import partial

import gin
import keras
import tensorflow as tf

from sagan.config import Channels, Count, Natural, check_size, checked
from sagan.layers.attention import (
    AttentionName,
    attention_recipe,
    attention_stages,
)
from sagan.layers.block_kinds import BlockName, block_recipe
from sagan.layers.blocks import DiscriminatorBlock
from sagan.layers.composite import Composite
from sagan.layers.conv import Conv3x3
from sagan.layers.dense import ClassEmbedding, Dense
from sagan.layers.elementwise import Elementwise
from sagan.layers.pointwise import Pointwise
from sagan.layers.precision import Precision, dtype_policy
from sagan.layers.recompute import call, call_recomputed
from sagan.layers.spectral_norm import InitializerName

# Widths of the blocks, in units of `base_channels`.
DISCRIMINATOR_WIDTHS = {
    32: (2, 2, 2, 2),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}
# The last blocks keep the resolution.
DISCRIMINATOR_FLAT_BLOCKS = {32: 2, 64: 1, 128: 1, 256: 1}


class Discriminator(Composite, keras.Model):
    """Maps images and labels to logits.

    Residual blocks, attention after the first block whose output resolution is
    in `attention_resolutions`, ReLU, a sum over positions, and a dense layer,
    to which the conditional network adds the inner product of features and
    class embedding. The head is float32.

    Args:
        image_size: Height and width of the images, a key of
            `DISCRIMINATOR_WIDTHS`.
        channels: Image channels, 1 or 3.
        base_channels: Unit of the widths.
        num_classes: Number of classes, or 0 for an unconditional network.
        block: Recipe for the blocks: `DiscriminatorBlock`, or a `partial` of
            it.
        attention: Recipe for the attention blocks.
        attention_resolutions: Resolutions that get an attention block.
        dense: Recipe for the last layer, `Dense`.
        embedding: Recipe for the class embedding, `ClassEmbedding`.
        elementwise: Computes the ReLU before the last layer.
        recompute: Whether the backward pass recomputes the activations inside
            blocks: less memory, the same gradients.

    Input shape: images `[batch, image_size, image_size, channels]`, float in
        [-1, 1]; labels `[batch]`, integer, unused when unconditional.
    Output shape: `[batch, 1]`, float32.

    Source: `discriminator_test` in discriminator.py of the released code.
    """

    def __init__(
        self,
        image_size,
        channels,
        base_channels,
        num_classes,
        block,
        attention,
        attention_resolutions,
        dense,
        embedding,
        elementwise,
        recompute=False,
    ):
        super().__init__(name="discriminator")
        self.image_shape = (image_size, image_size, channels)
        self.num_classes = num_classes
        self.elementwise = elementwise
        self.call_stage = call_recomputed if recompute else call
        widths = [
            base_channels * width for width in DISCRIMINATOR_WIDTHS[image_size]
        ]
        halvings = len(widths) - DISCRIMINATOR_FLAT_BLOCKS[image_size]
        self.blocks = tuple(
            block(width, down=i < halvings, first=i == 0)
            for i, width in enumerate(widths)
        )
        stages = [
            image_size // 2 ** min(i + 1, halvings) for i in range(len(widths))
        ]
        self.attentions = attention_stages(
            stages, attention_resolutions, attention
        )
        self.dense = dense(1, dtype="float32")
        if num_classes:
            self.embedding = embedding(num_classes, widths[-1], dtype="float32")

    def call(self, images, labels=None, training=False):
        features = images
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            features = self.call_stage(block, features, training=training)
            features = self.call_stage(attention, features, training=training)
        features = tf.cast(self.elementwise.relu(features), tf.float32)
        features = tf.reduce_sum(features, axis=[1, 2])  # [batch, channels]
        logits = self.dense(features, training=training)  # [batch, 1]
        if self.num_classes:
            embedded = self.embedding(labels, training=training)
            logits += tf.reduce_sum(embedded * features, -1, keepdims=True)
        return logits


@gin.configurable
@checked
def build_discriminator(
    image_size: int = gin.REQUIRED,
    channels: Channels = 3,
    base_channels: Count = 64,
    num_classes: Natural = 0,
    block: BlockName = "residual",
    recalibrate: bool = False,
    attention: AttentionName = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: Natural | None = None,
    spectral_norm: bool = True,
    initializer: InitializerName = "glorot",
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    product_gradient: bool = True,
    integer_relu: bool = True,
    fused_elementwise: bool = True,
    recompute: bool = False,
    precision: Precision = "float32",
) -> Discriminator:
    """Builds a `Discriminator` and creates its variables.

    Args:
        image_size: Height and width of the images: 32, 64, 128 or 256.
        channels: Image channels, 1 or 3.
        base_channels: Unit of the widths.
        num_classes: Number of classes, or 0 for an unconditional network.
        block: As in `build_generator`, like all arguments below.
        recalibrate: Whether each main path ends with a `Recalibration`.
        attention: Form of the attention, or of its control.
        attention_resolutions: Resolutions that get an attention block.
        pointwise: Implementation of all 1x1 convolutions.
        fused_fgh: Whether attention computes f, g and h as one product.
        query_block: Queries that attention processes at a time.
        spectral_norm: Whether kernels are spectrally normalised.
        initializer: Initial kernels.
        fused_resampling: Whether pooling is merged into convolutions.
        low_resolution_shortcut: Whether shortcuts run after pooling.
        product_gradient: Whether gradients of 3x3 and 5x5 kernels are computed
            as matrix products where that pays.
        integer_relu: Whether the ReLU of bfloat16 on a CPU is a maximum of
            integers.
        fused_elementwise: Whether training on a CPU computes ReLU after a gain
            or a bias, and sums with up-sampled shortcuts, as one operation
            where that pays.
        recompute: Whether the backward pass recomputes activations.
        precision: Dtype policy.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    check_size(DISCRIMINATOR_WIDTHS, image_size, attention_resolutions)
    elementwise = Elementwise(integer_relu, fused_elementwise)
    kernel = {"spectral_norm": spectral_norm, "initializer": initializer}
    conv = partial(Conv3x3, product_gradient=product_gradient, **kernel)
    pointwise = partial(Pointwise, implementation=pointwise, **kernel)
    with dtype_policy(precision):
        discriminator = Discriminator(
            image_size,
            channels,
            base_channels,
            num_classes,
            block=block_recipe(
                DiscriminatorBlock,
                block,
                recalibrate,
                pointwise,
                kernel,
                fused_resampling,
                product_gradient,
                low_resolution_shortcut=low_resolution_shortcut,
                elementwise=elementwise,
            ),
            attention=attention_recipe(
                attention,
                pointwise,
                conv,
                fused_fgh=fused_fgh,
                query_block=query_block,
            ),
            attention_resolutions=attention_resolutions,
            dense=partial(Dense, **kernel),
            embedding=partial(ClassEmbedding, **kernel),
            elementwise=elementwise,
            recompute=recompute,
        )
    images = tf.zeros([1, *discriminator.image_shape])
    discriminator(images, tf.zeros([1], tf.int32))
    return discriminator
