"""The generator and the discriminator of SAGAN, at any resolution."""

import keras
import tensorflow as tf

from sagan.layers.attention_stages import attention_stages
from sagan.layers.blocks import DiscriminatorBlock, GeneratorBlock
from sagan.layers.conv import Conv3x3
from sagan.layers.linear import ClassEmbedding, Dense
from sagan.layers.norm import BatchNorm
from sagan.layers.recompute import call, call_recomputed

# Widths in units of `base_channels`. Generator: of the 4x4 layer, then of each
# block. Discriminator: of each block. 128 and 32 are the released SAGAN and
# its CIFAR-10 form, 64 the layout of PyTorch-StudioGAN, 256 that of BigGAN.
GENERATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
DISCRIMINATOR_WIDTHS = {
    32: (2, 2, 2, 2),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
}
# The discriminator's last blocks keep the resolution.
DISCRIMINATOR_FLAT_BLOCKS = {32: 2, 64: 1, 128: 1, 256: 1}


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


def attention_blocks(network):
    """Returns the attention blocks of a network by name, as they run."""
    return {
        layer.name: layer
        for layer in network.attentions
        if hasattr(layer, "gamma")
    }
