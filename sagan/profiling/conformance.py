"""Compares all implementations of the 1x1 convolution with float64."""

import math

import numpy as np
import tensorflow as tf

from sagan.layers.numerics.deviations import (
    MODES,
    RESULTS,
    ROUNDING,
    compiled,
    tolerance,
)
from sagan.layers.numerics.exact import exact_results
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling.pointwise import with_gradients


def errors(shape, dtype: str, modes=MODES):
    """Compares all implementations with products in float64.

    Args:
        shape: A `Shape` of `sagan.profiling.pointwise`.
        dtype: Key of `ROUNDING`.
        modes: Some of `MODES`.

    Returns:
        By mode, implementation and entry of `RESULTS` the largest error in
        units of the tolerance: above 1, or NaN, is wrong.
    """
    operands = _operands(shape, dtype)
    every = map(np.arange, (shape.batch, shape.channels, shape.filters))
    inputs, kernel, direction = map(np.float64, operands)
    exact = [
        (value, tolerance(value, root, terms, dtype))
        for value, root, terms in exact_results(
            inputs, kernel, direction, None, *every
        )
    ]
    return {
        (mode, name, result): float(np.max(np.abs(np.float64(value) - e) / t))
        for mode in modes
        for name, values in compiled(_all, mode, operands)(*operands).items()
        for result, value, (e, t) in zip(RESULTS, values, exact, strict=True)
    }


def check(shapes, dtypes=tuple(ROUNDING), modes=MODES):
    """Checks all implementations at many shapes.

    Args:
        shapes: Shapes as from `sagan.profiling.pointwise`.
        dtypes: Keys of `ROUNDING`.
        modes: Some of `MODES`.

    Returns:
        The largest error by dtype, mode and implementation, in units of the
        tolerance, infinite for a NaN; and what is wrong, as tuples of
        implementation, shape, dtype, mode and result.
    """
    worst, wrong = {}, []
    for dtype in dtypes:
        for shape in shapes:
            for (mode, name, result), error in errors(
                shape, dtype, modes
            ).items():
                if not error <= 1:
                    wrong.append((name, shape, dtype, mode, result))
                    error = math.inf if math.isnan(error) else error
                row = dtype, mode, name
                worst[row] = max(worst.get(row, 0.0), error)
    return worst, wrong


def _operands(shape, dtype):
    rng = np.random.default_rng(0)
    leading = (shape.batch, shape.height, shape.width)
    sizes = (
        (*leading, shape.channels),
        (1, 1, shape.channels, shape.filters),
        (*leading, shape.filters),
    )
    return [tf.cast(rng.normal(size=size), dtype) for size in sizes]


def _all(*operands):
    return {
        name: with_gradients(implementation)(*operands)
        for name, implementation in IMPLEMENTATIONS.items()
    }
