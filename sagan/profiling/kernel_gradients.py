"""Times the two forms of the gradient of a 3x3 kernel."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping

import tensorflow as tf

from sagan.layers.conv import Conv3x3
from sagan.layers.kernel_gradient import pays
from sagan.layers.numerics.deviations import apply_operation
from sagan.layers.numerics.operations import Operation, layer_operation
from sagan.layers.spectral_norm import kernel_layers
from sagan.profiling.timing import time_in_turn
from sagan.runs.machine import describe_machine

FORMS = {"framework": False, "products": True}


def convolutions(generator, discriminator, batch_size: int) -> set[Operation]:
    """Returns the 3x3 and 5x5 convolutions whose kernels a step updates.

    Equal ones once. The discriminator's update sees real and generated images
    together.
    """
    return {
        layer_operation(layer, images)
        for network, images in (
            (generator, batch_size),
            (discriminator, 2 * batch_size),
        )
        for layer in kernel_layers(network)
        if isinstance(layer, Conv3x3)
    }


def benchmark(
    operations: Iterable[Operation], samples: int = 9
) -> Iterator[dict[str, object]]:
    """Times both forms of each gradient against each other, compiled.

    Args:
        operations: As from `convolutions`.
        samples: Samples of each timing.

    Yields:
        A row for each: the operation, and for either form the median seconds
        and the quartiles.
    """
    device = describe_machine()
    for operation in sorted(operations):
        timings = time_in_turn(
            {
                name: _make_call(operation, products)
                for name, products in FORMS.items()
            },
            samples,
        )
        row = {
            "device": device,
            "dtype": operation.dtype,
            "convolution": operation.name,
            "shape": str(operation),
            "positions": operation.fewest_positions,
            "channels": min(operation.kernel[2:]),
        }
        for name, timing in timings.items():
            row |= {
                name: timing.median,
                f"{name}_lower": timing.lower,
                f"{name}_upper": timing.upper,
            }
        yield row


def chosen_form(row: Mapping[str, object]) -> str:
    """Returns the form that a network computes the gradient of a row in."""
    channels = [int(row["channels"])] * 4
    products = pays(row["dtype"], int(row["positions"]), channels)
    return "products" if products else "framework"


def _make_call(operation, products):
    operation = dataclasses.replace(operation, products=products)
    inputs, kernel, direction = (
        tf.random.stateless_normal(shape, [0, i])
        for i, shape in enumerate(
            (operation.inputs, operation.kernel, operation.outputs)
        )
    )
    inputs = tf.cast(inputs, operation.dtype)
    direction = tf.cast(direction, operation.dtype)

    @functools.partial(tf.function, autograph=False)
    def call():
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = apply_operation(operation, inputs, kernel)
        return tape.gradient(outputs, kernel, direction)

    return call
