"""The shapes of the 1x1 convolutions in the networks of a config."""

import collections
import dataclasses
from unittest import mock

import gin
import tensorflow as tf

from sagan.builders import build_discriminator, build_generator
from sagan.config import parse_config
from sagan.layers.pointwise import Pointwise


@dataclasses.dataclass(frozen=True, order=True)
class Shape:
    """Of one 1x1 convolution: `[batch, height, width, channels]` to filters."""

    batch: int
    height: int
    width: int
    channels: int
    filters: int

    def __str__(self):
        inputs = (self.batch, self.height, self.width, self.channels)
        return "x".join(map(str, inputs)) + f"->{self.filters}"

    @property
    def positions(self) -> int:
        return self.batch * self.height * self.width

    def flops(self, backward: bool) -> int:
        """Of the product, and of those for both gradients."""
        product = 2 * self.positions * self.channels * self.filters
        return 3 * product if backward else product

    def bytes(self, size: int, backward: bool) -> int:
        """Least traffic: each operand read once, each result written once."""
        inputs = self.positions * self.channels
        outputs = self.positions * self.filters
        kernel = self.channels * self.filters
        once = inputs + outputs + kernel
        # Backward reads all three and writes two gradients.
        return size * (once + (once + inputs + kernel if backward else 0))


def pointwise_shapes(generator, discriminator, batch_size: int):
    """Returns how often each `Shape` runs forward in one training step.

    One discriminator update and one generator update, as `GAN` makes them.
    """
    counts = collections.Counter()
    call = Pointwise.call

    def record(layer, inputs, training=False):
        counts[Shape(*inputs.shape, layer.filters)] += 1
        return call(layer, inputs, training=training)

    def step(latents, images, labels):
        generator(latents, labels, training=True)  # in either update
        generator(latents, labels, training=True)
        discriminator(images, labels, training=True)
        twice = tf.concat([images, images], 0)
        discriminator(twice, tf.concat([labels, labels], 0), training=True)

    with mock.patch.object(Pointwise, "call", record):
        tf.function(step, autograph=False).get_concrete_function(
            tf.TensorSpec([batch_size, generator.latent_dim]),
            tf.TensorSpec([batch_size, *discriminator.image_shape]),
            tf.TensorSpec([batch_size], tf.int32),
        )
    return counts


def config_shapes(config_files, bindings=(), batch_size: int | None = None):
    """Parses a config and returns the shapes in its networks.

    Args:
        config_files: Paths of gin files, as in `sagan.config.parse_config`.
        bindings: Override them.
        batch_size: Images a batch; that of the config if not given.

    Returns:
        As `pointwise_shapes`.
    """
    parse_config(config_files, bindings)
    return pointwise_shapes(
        build_generator(),
        build_discriminator(),
        batch_size or config_batch_size(),
    )


def config_batch_size() -> int:
    """Returns the images a batch that the parsed config asks for."""
    return gin.get_bindings("make_dataset")["batch_size"]
