"""Peak rates of this machine: products, convolutions and copies."""

import collections
import dataclasses
from collections.abc import Callable, Iterable

import tensorflow as tf

from sagan.layers.numerics.operations import CONV, Operation
from sagan.profiling.flops import OpCost
from sagan.profiling.timing import time_in_turn

# A GPU is done with less before Python has asked for more.
_ON_GPU = bool(tf.config.list_physical_devices("GPU"))
MATRIX_SIDE = 8192 if _ON_GPU else 2048
COPIED_BYTES = 4_096_000_000 if _ON_GPU else 128_000_000
# Operations in the chain that gives the seconds to start one.
_CHAIN = 500
# A convolution is measured on as many images as stay below these FLOPs.
_MOST_FLOPS = 4e9
# Seconds to start an operation, where only FLOP/s and bytes/s are given.
DEFAULT_START = 5e-6
_KINDS = {
    "Conv2D": "conv",
    "Conv2DBackpropInput": "input_gradient",
    "Conv2DBackpropFilter": "filter_gradient",
}


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """Peak rates of this machine for one dtype.

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


def convolution(dtype: str, inputs=None, filters: int = 256) -> Operation:
    """Returns a 3x3 convolution to measure.

    Args:
        dtype: Its dtype.
        inputs: `(batch, height, width, channels)`; the default, with the
            default of `filters`, has enough channels and positions to suit
            every kernel.
        filters: Number of output channels.
    """
    inputs = inputs or (2048 if _ON_GPU else 32, 16, 16, 256)
    return Operation(CONV, dtype, inputs, (3, 3, inputs[3], filters))


def measure_gemm_and_copy(dtype: str, samples: int = 9) -> dict[str, float]:
    """Measures the ceilings "gemm" and "copy" alone, as medians."""
    shape = convolution(dtype, (1, 1, 1, 1), 1)
    calls, work = ceiling_calls(shape), _work(shape)
    names = ("gemm", "copy")
    seconds = _median_seconds({name: calls[name] for name in names}, samples)
    return {name: work[name] / seconds[name] for name in names}


def _median_seconds(calls, samples):
    timings = time_in_turn(calls, samples)
    return {name: timing.median for name, timing in timings.items()}


def ceilings_of(seconds: dict[str, float], shape: Operation) -> Ceilings:
    """Returns the `Ceilings`, from the seconds of each of `ceiling_calls`."""
    work = _work(shape)
    return Ceilings(**{name: work[name] / seconds[name] for name in work})


def _work(shape):
    """Returns the FLOPs, or the bytes, of each of `ceiling_calls`."""
    return dict.fromkeys(_KINDS.values(), 2 * shape.work) | {
        "gemm": 2 * MATRIX_SIDE**3,
        "copy": 2 * COPIED_BYTES,
    }


def ceiling_calls(shape: Operation) -> dict[str, Callable]:
    """Returns a compiled function for each attribute of `Ceilings`.

    Args:
        shape: A `convolution`, whose dtype all operands have.
    """

    def noise(*sizes):
        return tf.cast(tf.random.stateless_normal(sizes, [0, 0]), shape.dtype)

    matrix = noise(MATRIX_SIDE, MATRIX_SIDE)
    data = tf.ones([COPIED_BYTES // matrix.dtype.size], matrix.dtype)
    inputs, kernel, outputs = (
        noise(*sizes) for sizes in (shape.inputs, shape.kernel, shape.outputs)
    )
    same = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    functions = {
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
        "gemm": lambda: tf.matmul(matrix, matrix),
        "copy": lambda: tf.negative(data),
    }
    return {
        name: tf.function(function, autograph=False)
        for name, function in functions.items()
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

        It has to be started, and computes or moves data, whichever is slower.
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
    """Returns the `Rates` of a device from FLOP/s and bytes/s alone."""
    return Rates(Ceilings(flops, flops, flops, flops, copy), DEFAULT_START)


def heaviest_convolution(functions) -> Operation:
    """Returns the plain 3x3 convolution with most FLOPs in traced functions.

    On fewer images if it is large: a rate does not need them all.
    """
    shapes = [
        convolution(
            op.inputs[0].dtype.name,
            tuple(op.inputs[0].shape),
            op.inputs[1].shape[3],
        )
        for function in functions
        for op in function.graph.get_operations()
        if op.type == "Conv2D"
        and op.inputs[1].shape[:2] == (3, 3)
        and op.get_attr("strides") == [1, 1, 1, 1]
    ]
    shape = max(shapes, key=lambda shape: shape.work)
    batch, *image = shape.inputs
    batch = max(1, min(batch, int(_MOST_FLOPS * batch / (2 * shape.work))))
    return dataclasses.replace(shape, inputs=(batch, *image))


def measure_rates(
    shape: Operation, samples: int = 9, step=None
) -> tuple[Rates, float | None]:
    """Measures the `Rates` of this machine, as medians.

    Args:
        shape: A `convolution`. Its rate varies with the channels, so it should
            be one that the step spends much time in.
        samples: Samples of each timing.
        step: A function to be timed in turn with them, so that it has the
            same share of a busy machine.

    Returns:
        The rates, and the seconds of `step`, None without one.
    """
    calls = ceiling_calls(shape) | {"start": _chain()}
    if step:
        calls["step"] = step
    seconds = _median_seconds(calls, samples)
    start = seconds["start"] / _CHAIN
    return Rates(ceilings_of(seconds, shape), start), seconds.get("step")


def _chain():
    # Smaller tensors become constants, and the chain with them.
    tiny = tf.ones([256])

    def chain():
        values = tiny
        for _ in range(_CHAIN):
            values = tf.tanh(values)
        return values

    return tf.function(chain, autograph=False)
