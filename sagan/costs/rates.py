"""How fast a device is, and how long it takes for the operations of a graph."""

import collections
import dataclasses
from collections.abc import Iterable

import tensorflow as tf

from sagan.benchmarks.ceilings import (
    Ceilings,
    Convolution,
    ceiling_calls,
    ceilings_of,
)
from sagan.benchmarks.graph_cost import OpCost
from sagan.benchmarks.timing import time_in_turn

# Operations in the chain that gives the seconds to start one.
_CHAIN = 500
# A convolution is measured on as many images as stay below it.
_MOST_FLOPS = 4e9
# Seconds to start an operation, where only FLOP/s and bytes/s are given.
DEFAULT_START = 5e-6
_KINDS = {
    "Conv2D": "conv",
    "Conv2DBackpropInput": "input_gradient",
    "Conv2DBackpropFilter": "filter_gradient",
}


@dataclasses.dataclass(frozen=True)
class Rates:
    """What a device reaches.

    Attributes:
        ceilings: FLOP/s and bytes/s; those of convolutions at a shape that
            steps spend much time in.
        start: Seconds that any operation takes at least.
    """

    ceilings: Ceilings
    start: float

    def seconds(self, cost: OpCost) -> float:
        """Returns how long one operation takes.

        It computes or moves data, whichever is slower, and has to be started.
        """
        rate = getattr(self.ceilings, _KINDS.get(cost.type, "gemm"))
        moving = cost.bytes / self.ceilings.copy
        return self.start + max(cost.flops / rate, moving)

    def seconds_by_part(self, costs: Iterable[OpCost]) -> dict[str, float]:
        """Returns the sums of `seconds` by part of a step."""
        sums = collections.Counter()
        for cost in costs:
            sums[cost.part] += self.seconds(cost)
        return dict(sums)


def given_rates(flops: float, copy: float) -> Rates:
    """Makes the `Rates` of a device from FLOP/s and bytes/s alone."""
    return Rates(Ceilings(flops, flops, flops, flops, copy), DEFAULT_START)


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

    Args:
        dtype: Of products, convolutions and copy.
        shape: Of the convolution. Its rate varies with the channels, so it
            should be one that the step spends much time in.
        samples: Of each.
        step: A function to be timed in turn with them, so that it has the
            same share of a busy machine.

    Returns:
        The rates, and the seconds of `step`, None without one.
    """
    calls = ceiling_calls(dtype, shape) | {"start": _chain()}
    if step:
        calls["step"] = step
    seconds = {
        name: timing.median
        for name, timing in time_in_turn(calls, samples).items()
    }
    start = seconds["start"] / _CHAIN
    return Rates(ceilings_of(seconds, shape), start), seconds.get("step")


def _chain():
    # Smaller ones become constants, and the chain with them.
    tiny = tf.ones([256])

    def chain():
        values = tiny
        for _ in range(_CHAIN):
            values = tf.tanh(values)
        return values

    return tf.function(chain, autograph=False)
