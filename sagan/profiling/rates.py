"""What the machine can do at best: products, convolutions and copies."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterable

import tensorflow as tf

from sagan.profiling.flops import OpCost
from sagan.profiling.timing import time_in_turn

# A GPU is done with less before Python has asked for more.
_ON_GPU = bool(tf.config.list_physical_devices("GPU"))
MATRIX_SIDE = 8192 if _ON_GPU else 2048
COPIED_BYTES = 4_096_000_000 if _ON_GPU else 128_000_000


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
class Convolution:
    """The shape of a 3x3 convolution: `[batch, height, width, channels]`."""

    inputs: tuple[int, int, int, int]
    filters: int

    @property
    def flops(self) -> int:
        return 2 * 9 * math.prod(self.inputs) * self.filters

    def __str__(self):
        return "x".join(map(str, self.inputs)) + f"->{self.filters}"


# Its 256 channels and 8192 positions, or more, suit every kernel.
LARGE = Convolution((2048 if _ON_GPU else 32, 16, 16, 256), 256)


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """Rates of this machine for one dtype.

    Attributes:
        gemm: FLOP/s of a product of two large square matrices.
        conv: FLOP/s of a 3x3 convolution, forward.
        input_gradient: FLOP/s of its gradient to the inputs.
        filter_gradient: FLOP/s of its gradient to the kernel.
        copy: Bytes/s, read and written, of an element-wise negation.
    """

    gemm: float
    conv: float
    input_gradient: float
    filter_gradient: float
    copy: float


def measure_ceilings(dtype: str, samples: int = 9) -> Ceilings:
    """Measures the ceilings for a dtype, as medians."""
    timings = time_in_turn(ceiling_calls(dtype), samples)
    return ceilings_of({name: t.median for name, t in timings.items()})


def ceilings_of(
    seconds: dict[str, float], shape: Convolution = LARGE
) -> Ceilings:
    """Makes the `Ceilings` of the seconds of each of `ceiling_calls`."""
    return Ceilings(
        gemm=2 * MATRIX_SIDE**3 / seconds["gemm"],
        conv=shape.flops / seconds["conv"],
        input_gradient=shape.flops / seconds["input_gradient"],
        filter_gradient=shape.flops / seconds["filter_gradient"],
        copy=2 * COPIED_BYTES / seconds["copy"],
    )


def ceiling_calls(
    dtype: str, shape: Convolution = LARGE
) -> dict[str, Callable]:
    """Returns a compiled function for each attribute of `Ceilings`.

    Args:
        dtype: Of everything.
        shape: Of the convolution; by default one that suits every kernel.
    """

    def noise(*sizes):
        return tf.cast(tf.random.stateless_normal(sizes, [0, 0]), dtype)

    matrix = noise(MATRIX_SIDE, MATRIX_SIDE)
    data = tf.ones([COPIED_BYTES // matrix.dtype.size], matrix.dtype)
    functions = _convolutions(
        noise(*shape.inputs),
        noise(3, 3, shape.inputs[3], shape.filters),
        noise(*shape.inputs[:3], shape.filters),
    ) | {
        "gemm": lambda: tf.matmul(matrix, matrix),
        "copy": lambda: tf.negative(data),
    }
    return {
        name: tf.function(function, autograph=False)
        for name, function in functions.items()
    }


def _convolutions(inputs, kernel, outputs):
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    return {
        "conv": lambda: tf.raw_ops.Conv2D(input=inputs, filter=kernel, **same),
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
