"""What the machine can do at best: matrix products and copies."""

import dataclasses

import tensorflow as tf

from sagan.benchmarks.timing import time_in_turn


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """Best rates of this machine for one dtype.

    Attributes:
        gemm: FLOP/s of a product of two square matrices, side 2048.
        copy: Bytes/s, read and written, of an element-wise negation of 128 MB.
    """

    gemm: float
    copy: float


def measure_ceilings(dtype: str, samples: int = 9) -> Ceilings:
    """Measures the machine's ceilings for a dtype, as lower quartiles."""
    side = 2048
    matrix = tf.cast(tf.random.stateless_normal([side, side], [0, 0]), dtype)
    data = tf.ones([128_000_000 // matrix.dtype.size], matrix.dtype)
    multiply, negate = tf.function(tf.matmul), tf.function(tf.negative)
    timings = time_in_turn(
        {
            "gemm": lambda: multiply(matrix, matrix),
            "copy": lambda: negate(data),
        },
        samples,
    )
    return Ceilings(
        gemm=2 * side**3 / timings["gemm"].lower,
        copy=2 * 128_000_000 / timings["copy"].lower,
    )
