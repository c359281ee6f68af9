"""What the machine can do at best: products, convolutions and copies."""

import dataclasses

import tensorflow as tf

from sagan.benchmarks.timing import time_in_turn


@dataclasses.dataclass(frozen=True)
class Ceilings:
    """Best rates of this machine for one dtype.

    Attributes:
        gemm: FLOP/s of a product of two square matrices, side 2048.
        conv: FLOP/s of a 3x3 convolution, 256 to 256 channels, of 32 feature
            maps of 16x16, forward.
        copy: Bytes/s, read and written, of an element-wise negation of 128 MB.
    """

    gemm: float
    conv: float
    copy: float


def measure_ceilings(dtype: str, samples: int = 9) -> Ceilings:
    """Measures the machine's ceilings for a dtype, as lower quartiles."""
    side = 2048
    matrix = tf.cast(tf.random.stateless_normal([side, side], [0, 0]), dtype)
    data = tf.ones([128_000_000 // matrix.dtype.size], matrix.dtype)
    maps = tf.reshape(matrix, [-1])[: 32 * 16 * 16 * 256]
    maps = tf.reshape(maps, [32, 16, 16, 256])
    kernel = tf.reshape(matrix[: 9 * 32], [3, 3, 256, 256])
    multiply, negate = tf.function(tf.matmul), tf.function(tf.negative)
    convolve = tf.function(
        lambda: tf.nn.conv2d(maps, kernel, strides=1, padding="SAME")
    )
    timings = time_in_turn(
        {
            "gemm": lambda: multiply(matrix, matrix),
            "conv": convolve,
            "copy": lambda: negate(data),
        },
        samples,
    )
    return Ceilings(
        gemm=2 * side**3 / timings["gemm"].lower,
        conv=2 * 32 * 16 * 16 * 9 * 256**2 / timings["conv"].lower,
        copy=2 * 128_000_000 / timings["copy"].lower,
    )
