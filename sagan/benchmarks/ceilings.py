"""What the machine can do at best: products, convolutions and copies."""

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from sagan.benchmarks.timing import time_in_turn

# A GPU is done with less before Python has asked for more.
_ON_GPU = bool(tf.config.list_physical_devices("GPU"))
MATRIX_SIDE = 8192 if _ON_GPU else 2048
COPIED_BYTES = 4_096_000_000 if _ON_GPU else 128_000_000


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
