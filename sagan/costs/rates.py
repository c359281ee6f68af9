"""How fast a device is, and how long it takes for the operations of a graph."""

import collections
import dataclasses
import math
from collections.abc import Iterable

import tensorflow as tf

from sagan.benchmarks.graph_cost import OpCost
from sagan.benchmarks.timing import time_in_turn

_MATRIX_SIDE = 2048
_COPIED_BYTES = 64_000_000
# Operations in the chain that gives the seconds to start one.
_CHAIN = 500
# A convolution is measured on as many images as stay below it.
_MOST_FLOPS = 4e9
# Seconds to start an operation, where only FLOP/s and bytes/s are given.
DEFAULT_START = 5e-6
_KINDS = {
    "Conv2D": "convolution",
    "Conv2DBackpropInput": "input_gradient",
    "Conv2DBackpropFilter": "filter_gradient",
}


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device reaches.

    Attributes:
        convolution: FLOP/s of a 3x3 convolution.
        input_gradient: FLOP/s of its gradient to the inputs.
        filter_gradient: FLOP/s of its gradient to the kernel.
        product: FLOP/s of a matrix product.
        copy: Bytes/s, read and written.
        start: Seconds that any operation takes at least.
    """

    convolution: float
    input_gradient: float
    filter_gradient: float
    product: float
    copy: float
    start: float

    def seconds(self, cost: OpCost) -> float:
        """Returns how long one operation takes.

        It computes or moves data, whichever is slower, and has to be started.
        """
        rate = getattr(self, _KINDS.get(cost.type, "product"))
        return self.start + max(cost.flops / rate, cost.bytes / self.copy)

    def seconds_by_part(self, costs: Iterable[OpCost]) -> dict[str, float]:
        """Returns the sums of `seconds` by part of a step."""
        sums = collections.Counter()
        for cost in costs:
            sums[cost.part] += self.seconds(cost)
        return dict(sums)


def given_rates(flops: float, copy: float) -> Rates:
    """Makes the `Rates` of a device from FLOP/s and bytes/s alone."""
    return Rates(flops, flops, flops, flops, copy, DEFAULT_START)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """The shape of a 3x3 convolution: `[batch, height, width, channels]`."""

    inputs: tuple[int, int, int, int]
    filters: int

    @property
    def flops(self) -> int:
        return 2 * 9 * math.prod(self.inputs) * self.filters

    def __str__(self):
        return "x".join(map(str, self.inputs)) + f"->{self.filters}"


def heaviest_convolution(functions) -> Convolution:
    """Returns the plain 3x3 convolution with most FLOPs in traced functions.

    On fewer images if it is large: a rate does not need them all.
    """
    shapes = [
        Convolution(tuple(op.inputs[0].shape), op.inputs[1].shape[3])
        for function in functions
        for op in function.graph.get_operations()
        if op.type == "Conv2D"
        and op.inputs[1].shape[:2] == (3, 3)
        and op.get_attr("strides") == [1, 1, 1, 1]
    ]
    shape = max(shapes, key=lambda shape: shape.flops)
    batch, *image = shape.inputs
    batch = max(1, min(batch, int(_MOST_FLOPS * batch / shape.flops)))
    return Convolution((batch, *image), shape.filters)


def measure_rates(
    dtype: str, shape: Convolution, samples: int = 9, step=None
) -> tuple[Rates, float | None]:
    """Measures the `Rates` of this machine, as medians.

    A matrix product of side 2048, a negation of 64 MB, a chain of 500 tiny
    operations, and a convolution with both its gradients.

    Args:
        dtype: Of the products and the copy.
        shape: Of the convolution. Its rate varies with the channels, so it
            should be one that the step spends much time in.
        samples: Of each.
        step: A function to be timed in turn with them, so that it has the
            same share of a busy machine.

    Returns:
        The rates, and the seconds of `step`, None without one.
    """
    calls = _calls(dtype, shape) | ({"step": step} if step else {})
    seconds = {
        name: timing.median
        for name, timing in time_in_turn(calls, samples).items()
    }
    rates = Rates(
        *(shape.flops / seconds[name] for name in _KINDS.values()),
        product=2 * _MATRIX_SIDE**3 / seconds["product"],
        copy=2 * _COPIED_BYTES / seconds["copy"],
        start=seconds["start"] / _CHAIN,
    )
    return rates, seconds.get("step")


def _calls(dtype, shape):
    """Returns functions that a rate each is measured by."""

    def noise(*sizes):
        return tf.cast(tf.random.stateless_normal(sizes, [0, 0]), dtype)

    def chain():
        values = tiny
        for _ in range(_CHAIN):
            values = tf.tanh(values)
        return values

    # Smaller ones become constants, and the chain with them.
    tiny = tf.ones([256])
    matrix = noise(_MATRIX_SIDE, _MATRIX_SIDE)
    data = tf.ones([_COPIED_BYTES // matrix.dtype.size], matrix.dtype)
    functions = _convolutions(
        noise(*shape.inputs),
        noise(3, 3, shape.inputs[3], shape.filters),
        noise(*shape.inputs[:3], shape.filters),
    ) | {
        "product": lambda: tf.matmul(matrix, matrix),
        "copy": lambda: tf.negative(data),
        "start": chain,
    }
    return {
        name: tf.function(function, autograph=False)
        for name, function in functions.items()
    }


def _convolutions(inputs, kernel, outputs):
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    return {
        "convolution": lambda: tf.raw_ops.Conv2D(
            input=inputs, filter=kernel, **same
        ),
        "input_gradient": lambda: tf.raw_ops.Conv2DBackpropInput(
            input_sizes=inputs.shape,
            filter=kernel,
            out_backprop=outputs,
            **same,
        ),
        "filter_gradient": lambda: tf.raw_ops.Conv2DBackpropFilter(
            input=inputs,
            filter_sizes=kernel.shape,
            out_backprop=outputs,
            **same,
        ),
    }
