"""The generator and the discriminator of SAGAN, at any resolution."""

from collections.abc import Sequence

import gin
import keras
import tensorflow as tf

from sagan.config import (
    check_booleans,
    check_choices,
    check_integers,
    check_size,
)
from sagan.layers.attention import attention_stages
from sagan.layers.batch_norm import BatchNorm
from sagan.layers.blocks import GeneratorBlock
from sagan.layers.conv import Conv3x3
from sagan.layers.dense import Dense
from sagan.layers.precision import _dtype_policy
from sagan.layers.recompute import call, call_recomputed

SYNCHRONIZED = "synchronized"
BATCH_NORMS = ("per_replica", SYNCHRONIZED)


# Widths in units of `base_channels`. Generator: of the 4x4 layer, then of each
# block. Discriminator: of each block. 128 and 32 are the released SAGAN and
# its CIFAR-10 form, 64 the layout of PyTorch-StudioGAN, 256 that of BigGAN.
GENERATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}


class Generator(keras.Model):
    """Latents and labels to images.

    A dense layer to 4x4, one block a doubling, attention after the blocks
    whose output has a resolution in `attention_resolutions`, and batch norm,
    ReLU, 3x3 convolution, tanh.

    Args:
        image_size: Height and width of the images, a key of
            `GENERATOR_WIDTHS`.
        channels: Of the images, 1 or 3.
        base_channels: Unit of the widths.
        latent_dim: Length of a latent vector.
        num_classes: Number of classes, or 0 for an unconditional network.
        attention: `"released"`, `"paper"` or `"residual"`, see
            `sagan.layers.attention`.
        attention_resolutions: Resolutions that have an attention block.
        pointwise: Implementation of all 1x1 convolutions.
        fused_fgh: Whether attention makes f, g and h in one product.
        query_block: Queries that attention takes at a time; 0 for all, None
            for what fits the size of its map.
        spectral_norm: Whether kernels are spectrally normalised.
        fused_resampling: Whether up-sampling is merged into convolutions.
        low_resolution_shortcut: Whether shortcuts run before up-sampling.
        fused_norm: Whether batch norm is the framework's fused kernel.
        synchronized_norm: Whether batch norm is over the global batch, not
            over the part of each replica.
        recompute: Whether the backward pass makes the activations inside
            blocks again: less memory, the same gradients.
        batch_norm_decay: Of the moving moments in the blocks.
        final_batch_norm_decay: Of those before the last convolution.

    Input shape: latents `[batch, latent_dim]`, float; labels `[batch]`,
        integer, unused when unconditional.
    Output shape: `[batch, image_size, image_size, channels]`, float32 in
        [-1, 1].

    Source: `generator_test` in generator.py of the released code.
    """

    def __init__(
        self,
        image_size,
        channels=3,
        base_channels=64,
        latent_dim=128,
        num_classes=0,
        attention="released",
        attention_resolutions=(32,),
        pointwise="conv2d",
        fused_fgh=False,
        query_block=None,
        spectral_norm=True,
        fused_resampling=True,
        low_resolution_shortcut=True,
        fused_norm=True,
        synchronized_norm=False,
        recompute=False,
        batch_norm_decay=0.999,
        final_batch_norm_decay=0.9999,
    ):
        super().__init__(name="generator")
        self.image_shape = (image_size, image_size, channels)
        self.latent_dim = latent_dim
        self.num_classes = num_classes
        self.call_stage = call_recomputed if recompute else call
        first, *widths = (
            base_channels * width for width in GENERATOR_WIDTHS[image_size]
        )
        self.dense = Dense(4 * 4 * first, spectral_norm=spectral_norm)
        self.blocks = tuple(
            GeneratorBlock(
                width,
                num_classes=num_classes,
                batch_norm_decay=batch_norm_decay,
                pointwise=pointwise,
                spectral_norm=spectral_norm,
                fused_resampling=fused_resampling,
                low_resolution_shortcut=low_resolution_shortcut,
                fused_norm=fused_norm,
                synchronized_norm=synchronized_norm,
            )
            for width in widths
        )
        self.attentions = attention_stages(
            [4 * 2**i for i in range(len(widths) + 1)],
            attention_resolutions,
            attention,
            pointwise,
            spectral_norm,
            fused_fgh,
            query_block,
        )
        self.norm = BatchNorm(
            decay=final_batch_norm_decay,
            fused=fused_norm,
            synchronized=synchronized_norm,
        )
        self.conv = Conv3x3(channels, spectral_norm=spectral_norm)

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
        features = tf.nn.relu(self.norm(features, training=training))
        features = self.conv(features, training=training)
        return tf.tanh(tf.cast(features, tf.float32))


@gin.configurable
def build_generator(
    image_size: int = gin.REQUIRED,
    channels: int = 3,
    base_channels: int = 64,
    latent_dim: int = 128,
    num_classes: int = 0,
    attention: str = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: int | None = None,
    spectral_norm: bool = True,
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    fused_norm: bool = True,
    batch_norm: str = "per_replica",
    recompute: bool = False,
    batch_norm_decay: float = 0.999,
    final_batch_norm_decay: float = 0.9999,
    precision: str = "float32",
) -> Generator:
    """Makes a `Generator` with its variables.

    Args:
        batch_norm: What normalises in training on several replicas: the
            moments of each replica's part of the batch, "per_replica" as in
            the released code, or "synchronized", those of all of it.
        precision: Dtype policy, one of `PRECISIONS`. The other arguments are
            those of `Generator`.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    check_size(GENERATOR_WIDTHS, image_size, attention_resolutions)
    check_integers(
        "build_generator",
        1,
        channels=channels,
        base_channels=base_channels,
        latent_dim=latent_dim,
    )
    check_integers("build_generator", 0, num_classes=num_classes)
    if query_block is not None:
        check_integers("build_generator", 0, query_block=query_block)
    check_booleans(
        "build_generator",
        spectral_norm=spectral_norm,
        fused_resampling=fused_resampling,
        low_resolution_shortcut=low_resolution_shortcut,
        fused_norm=fused_norm,
        recompute=recompute,
        fused_fgh=fused_fgh,
    )
    check_choices("build_generator.batch_norm", [batch_norm], BATCH_NORMS)
    with _dtype_policy(precision):
        generator = Generator(
            image_size,
            channels=channels,
            base_channels=base_channels,
            latent_dim=latent_dim,
            num_classes=num_classes,
            attention=attention,
            attention_resolutions=attention_resolutions,
            pointwise=pointwise,
            fused_fgh=fused_fgh,
            query_block=query_block,
            spectral_norm=spectral_norm,
            fused_resampling=fused_resampling,
            low_resolution_shortcut=low_resolution_shortcut,
            fused_norm=fused_norm,
            synchronized_norm=batch_norm == SYNCHRONIZED,
            recompute=recompute,
            batch_norm_decay=batch_norm_decay,
            final_batch_norm_decay=final_batch_norm_decay,
        )
    generator(tf.zeros([1, latent_dim]), tf.zeros([1], tf.int32))
    return generator
