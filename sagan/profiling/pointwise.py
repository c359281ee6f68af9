"""The 1x1 convolutions of a training step, and their gradients."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from sagan.layers.pointwise import Pointwise
from sagan.layers.recorder import wrapped
from sagan.layers.spectral_norm import kernel_layers
from sagan.profiling.tracing import trace_network


@dataclasses.dataclass(frozen=True, order=True)
class Shape:
    """Shape of a 1x1 convolution: `[batch, height, width, channels]`, filters.

    As text, "8x32x32x64->16".
    """

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
        """Returns the FLOPs of the product, or also of both gradients."""
        product = 2 * self.positions * self.channels * self.filters
        return 3 * product if backward else product

    def bytes(self, size: int, backward: bool) -> int:
        """Returns the least traffic: operands read once, results written once.

        Args:
            size: Bytes of a number.
            backward: Whether both gradients are computed too.
        """
        inputs = self.positions * self.channels
        outputs = self.positions * self.filters
        kernel = self.channels * self.filters
        once = inputs + outputs + kernel
        # Backward reads all three and writes two gradients.
        return size * (once + (once + inputs + kernel if backward else 0))


def with_gradients(implementation: Callable) -> Callable:
    """Returns a function of the operands: outputs and both gradients."""

    def run(inputs, kernel, direction):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = implementation(inputs, kernel)
        return outputs, *tape.gradient(outputs, (inputs, kernel), direction)

    return run


def pointwise_shapes(generator, discriminator, batch_size: int) -> set[Shape]:
    """Returns the shapes of all 1x1 convolutions in a training step.

    The discriminator has them for `batch_size` images and for twice as many:
    its own update sees real and fake ones.
    """
    shapes = set()

    def record(layer, apply, inputs, kernel):
        shapes.add(Shape(*inputs.shape, kernel.shape[-1]))
        return apply(inputs, kernel)

    for network, images in (
        (generator, batch_size),
        (discriminator, batch_size),
        (discriminator, 2 * batch_size),
    ):
        layers = kernel_layers(network)
        layers = [layer for layer in layers if isinstance(layer, Pointwise)]
        with wrapped(layers, "apply", record):
            trace_network(network, images)
    return shapes
