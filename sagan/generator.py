"""The generator of SAGAN, at any resolution."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import gin
import keras
import tensorflow as tf

from sagan.config import (
    Channels,
    Count,
    Fraction,
    Natural,
    Needs,
    check_size,
    checked,
)
from sagan.layers.attention import (
    AttentionName,
    attention_recipe,
    attention_stages,
)
from sagan.layers.batch_norm import BatchNorm
from sagan.layers.block_kinds import BlockName, block_recipe
from sagan.layers.blocks import GeneratorBlock
from sagan.layers.composite import Composite
from sagan.layers.conv import Conv3x3
from sagan.layers.dense import ClassEmbedding, Dense
from sagan.layers.elementwise import Elementwise
from sagan.layers.pointwise import Pointwise
from sagan.layers.precision import Precision, dtype_policy
from sagan.layers.recompute import call, call_recomputed
from sagan.layers.spectral_norm import InitializerName

# Widths of the 4x4 layer and of each block, in units of `base_channels`. 128 is
# the released SAGAN, 32 its CIFAR-10 variant, 64 the layout of
# PyTorch-StudioGAN, 256 that of BigGAN.
GENERATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}


class Generator(Composite, keras.Model):
    """Maps latents and labels to images.

    A dense layer to 4x4, one residual block per doubling, attention after the
    blocks whose output resolution is in `attention_resolutions`, then batch
    norm, ReLU, 3x3 convolution and tanh.

    Args:
        image_size: Height and width of the images, a key of
            `GENERATOR_WIDTHS`.
        channels: Image channels, 1 or 3.
        base_channels: Unit of the widths.
        latent_dim: Length of a latent vector.
        num_classes: Number of classes, or 0 for an unconditional network.
        dense: Recipe for the first layer: `Dense`, or a `partial` of it.
        block: Recipe for the blocks, of `block_recipe`.
        attention: Recipe for the attention blocks.
        attention_resolutions: Resolutions that get an attention block.
        norm: Recipe for the last batch norm, `BatchNorm`.
        conv: Recipe for the last convolution, `Conv3x3`.
        elementwise: Computes the ReLU before the last layer.
        recompute: Whether the backward pass recomputes the activations inside
            blocks: less memory, the same gradients.

    Input shape: latents `[batch, latent_dim]`, float; labels `[batch]`,
        integer, or class weights `[batch, num_classes]`, float, for images
        between classes; unused when unconditional.
    Output shape: `[batch, image_size, image_size, channels]`, float32 in
        [-1, 1].

    Source: `generator_test` in generator.py of the released code.
    """

    def __init__(
        self,
        image_size,
        channels,
        base_channels,
        latent_dim,
        num_classes,
        dense,
        block,
        attention,
        attention_resolutions,
        norm,
        conv,
        elementwise,
        recompute=False,
    ):
        super().__init__(name="generator")
        self.image_shape = (image_size, image_size, channels)
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.elementwise = elementwise
        self.call_stage = call_recomputed if recompute else call
        first, *widths = (
            base_channels * width for width in GENERATOR_WIDTHS[image_size]
        )
        self.dense = dense(4 * 4 * first)
        self.blocks = tuple(block(width) for width in widths)
        stages = [4 * 2**i for i in range(len(widths) + 1)]
        self.attentions = attention_stages(
            stages, attention_resolutions, attention
        )
        self.norm = norm()
        self.conv = conv(channels)

    def call(self, latents, labels=None, training=False):
        features = self.dense(latents, training=training)
        features = tf.reshape(
            features, [-1, 4, 4, features.shape[-1] // 16]
        )  # [batch, 4, 4, channels]
        features = self.attentions[0](features, training=training)
        for block, attention in zip(
            self.blocks, self.attentions[1:], strict=True
        ):
            features = self.call_stage(
                block, features, labels, training=training
            )
            features = self.call_stage(attention, features, training=training)
        features = self.norm(features, training=training)
        features = self.elementwise.relu(features)
        features = self.conv(features, training=training)
        return tf.tanh(tf.cast(features, tf.float32))


@gin.configurable
@checked
def build_generator(
    image_size: int = gin.REQUIRED,
    channels: Channels = 3,
    base_channels: Count = 64,
    latent_dim: Count = 128,
    num_classes: Natural = 0,
    block: BlockName = "residual",
    recalibrate: bool = False,
    attention: AttentionName = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: Natural | None = None,
    spectral_norm: bool = True,
    class_spectral_norm: Annotated[bool, Needs("num_classes")] = False,
    initializer: InitializerName = "glorot",
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    product_gradient: bool = True,
    integer_relu: bool = True,
    fused_elementwise: bool = True,
    skip_bias: bool = True,
    fused_norm: bool = True,
    batch_norm: Literal["per_replica", "synchronized"] = "per_replica",
    recompute: bool = False,
    batch_norm_decay: Fraction = 0.999,
    final_batch_norm_decay: Fraction = 0.9999,
    precision: Precision = "float32",
) -> Generator:
    """Builds a `Generator` and creates its variables.

    Args:
        image_size: Height and width of the images: 32, 64, 128 or 256.
        channels: Image channels, 1 or 3.
        base_channels: Unit of the widths.
        latent_dim: Length of a latent vector.
        num_classes: Number of classes, or 0 for an unconditional network.
        block: Main path of the blocks: `"residual"`, the two 3x3 convolutions
            of the paper, or another of `block_kinds.py`.
        recalibrate: Whether each main path ends with a `Recalibration`.
        attention: `"released"` or `"paper"` (see `SelfAttention`), or
            `"residual"` for the `ResidualControl`.
        attention_resolutions: Resolutions that get an attention block.
        pointwise: Implementation of all 1x1 convolutions.
        fused_fgh: Whether attention computes f, g and h as one product.
        query_block: Queries that attention processes at a time; 0 for all,
            None for a default by the size of its map.
        spectral_norm: Whether kernels are spectrally normalised.
        class_spectral_norm: Whether the class tables of batch norm are, each
            as one matrix, with the gain 1 plus its table.
        initializer: Initial kernels: "glorot", uniform as in the released
            code, or "orthogonal" (Saxe et al. 2014, arXiv:1312.6120), as in
            BigGAN.
        fused_resampling: Whether up-sampling is merged into convolutions.
        low_resolution_shortcut: Whether shortcuts run before up-sampling.
        product_gradient: Whether gradients of 3x3 and 5x5 kernels are computed
            as matrix products where that pays.
        integer_relu: Whether the ReLU of bfloat16 on a CPU is a maximum of
            integers.
        fused_elementwise: Whether training on a CPU computes ReLU after a gain
            or a bias, and sums with up-sampled shortcuts, as one operation
            where that pays.
        skip_bias: Whether training leaves out biases that batch norm cancels.
        fused_norm: Whether batch norm uses the framework's fused kernel.
        batch_norm: Moments that normalise in training on several replicas:
            "per_replica", those of each replica's part of the batch, as in
            the released code, or "synchronized", those of the global batch.
        recompute: Whether the backward pass recomputes activations.
        batch_norm_decay: Decay of the moving moments in the blocks.
        final_batch_norm_decay: Decay of those before the last convolution.
        precision: Dtype policy.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    check_size(GENERATOR_WIDTHS, image_size, attention_resolutions)
    elementwise = Elementwise(integer_relu, fused_elementwise)
    norm = partial(
        BatchNorm, fused=fused_norm, synchronized=batch_norm == "synchronized"
    )
    kernel = {"spectral_norm": spectral_norm, "initializer": initializer}
    embedding = None
    if class_spectral_norm:
        embedding = partial(ClassEmbedding, initializer=initializer)
    conv = partial(Conv3x3, product_gradient=product_gradient, **kernel)
    pointwise = partial(Pointwise, implementation=pointwise, **kernel)
    block = block_recipe(
        GeneratorBlock,
        block,
        recalibrate,
        pointwise,
        kernel,
        fused_resampling,
        product_gradient,
        norm=partial(
            norm,
            num_classes=num_classes,
            decay=batch_norm_decay,
            embedding=embedding,
        ),
        low_resolution_shortcut=low_resolution_shortcut,
        skip_bias=skip_bias,
        elementwise=elementwise,
    )
    with dtype_policy(precision):
        generator = Generator(
            image_size,
            channels,
            base_channels,
            latent_dim,
            num_classes,
            dense=partial(Dense, **kernel),
            block=block,
            attention=attention_recipe(
                attention,
                pointwise,
                conv,
                fused_fgh=fused_fgh,
                query_block=query_block,
            ),
            attention_resolutions=attention_resolutions,
            norm=partial(norm, decay=final_batch_norm_decay),
            conv=conv,
            elementwise=elementwise,
            recompute=recompute,
        )
    generator(tf.zeros([1, latent_dim]), tf.zeros([1], tf.int32))
    return generator
