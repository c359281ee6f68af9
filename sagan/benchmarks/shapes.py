"""The shapes of the 1x1 convolutions in the networks of a config."""

import dataclasses
from unittest import mock

import tensorflow as tf

from sagan.benchmarks.config_values import config_batch_size
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


def pointwise_shapes(generator, discriminator, batch_size: int) -> set[Shape]:
    """Returns the shapes of all 1x1 convolutions in a training step.

    The discriminator has them for `batch_size` images and for twice as many:
    its own update sees real and fake ones.
    """
    shapes = set()
    apply = Pointwise.apply

    def record(layer, inputs, kernel):
        shapes.add(Shape(*inputs.shape, kernel.shape[-1]))
        return apply(layer, inputs, kernel)

    def step(latents, images, labels):
        generator(latents, labels, training=True)
        discriminator(images, labels, training=True)
        twice = tf.concat([images, images], 0)
        discriminator(twice, tf.concat([labels, labels], 0), training=True)

    with mock.patch.object(Pointwise, "apply", record):
        tf.function(step, autograph=False).get_concrete_function(
            tf.TensorSpec([batch_size, generator.latent_dim]),
            tf.TensorSpec([batch_size, *discriminator.image_shape]),
            tf.TensorSpec([batch_size], tf.int32),
        )
    return shapes


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
        config_batch_size() if batch_size is None else batch_size,
    )
