"""Whether every implementation of the 1x1 convolution computes the same."""

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
from sagan.layers.pointwise import IMPLEMENTATIONS


def errors(shape, dtype: str, modes=MODES, seed: int = 0):
    """Compares all implementations with a loop over positions in float64.

    Args:
        shape: A `Shape` of `sagan.profiling.pointwise`.
        dtype: Key of `ROUNDING`.
        modes: Some of `MODES`.
        seed: Of the normal operands.

    Returns:
        By mode, implementation and entry of `RESULTS` the largest error, in
        units of the tolerance: above 1, or NaN, is wrong.
    """
    operands = _operands(shape, dtype, seed)
    expected = _loop(*(np.float64(tensor) for tensor in operands))
    tolerances = list(_tolerances(expected, shape, dtype))
    return {
        (mode, name, result): float(np.max(np.abs(np.float64(value) - e) / t))
        for mode in modes
        for name, values in _all(mode, operands)(*operands).items()
        for result, value, (e, t) in zip(
            RESULTS, values, tolerances, strict=True
        )
    }


def check(shapes, dtypes=tuple(ROUNDING), modes=MODES):
    """Checks all implementations at many shapes.

    Args:
        shapes: Of `sagan.profiling.pointwise`.
        dtypes: Keys of `ROUNDING`.
        modes: Some of `MODES`.

    Returns:
        The largest error by dtype, mode and implementation, in units of the
        tolerance, infinite for a NaN; and a line on each that is wrong.
    """
    worst, wrong = {}, []
    for dtype in dtypes:
        for shape in shapes:
            for key, error in errors(shape, dtype, modes).items():
                mode, name, result = key
                if not error <= 1:
                    wrong.append(f"{name} {shape} {dtype} {mode} {result}")
                    error = math.inf if math.isnan(error) else error
                row = dtype, mode, name
                worst[row] = max(worst.get(row, 0.0), error)
    return worst, wrong


def _operands(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    leading = (shape.batch, shape.height, shape.width)
    return [
        tf.cast(rng.normal(size=size), dtype)
        for size in (
            (*leading, shape.channels),
            (1, 1, shape.channels, shape.filters),
            (*leading, shape.filters),
        )
    ]


def _all(mode, operands):
    """Returns a function of the operands: by name the outputs and gradients."""

    def run(inputs, kernel, direction):
        results = {}
        for name, implementation in IMPLEMENTATIONS.items():
            with tf.GradientTape() as tape:
                tape.watch((inputs, kernel))
                outputs = implementation(inputs, kernel)
            gradients = tape.gradient(outputs, (inputs, kernel), direction)
            results[name] = (outputs, *gradients)
        return results

    return compiled(run, mode, operands)


def _loop(inputs, kernel, direction):
    """Yields `RESULTS`, and for each the root of the sum of squared terms."""
    matrix = kernel[0, 0]
    outputs, d_inputs = np.zeros_like(direction), np.zeros_like(inputs)
    d_kernel = np.zeros_like(kernel)
    for position in np.ndindex(inputs.shape[:3]):
        outputs[position] = inputs[position] @ matrix
        d_inputs[position] = matrix @ direction[position]
        d_kernel[0, 0] += np.outer(inputs[position], direction[position])
    yield outputs, np.sqrt(inputs**2 @ matrix**2)
    yield d_inputs, np.sqrt(direction**2 @ matrix.T**2)
    inputs, direction = (
        x.reshape(-1, x.shape[-1]) for x in (inputs, direction)
    )
    yield d_kernel, np.sqrt(inputs.T**2 @ direction**2)[None, None]


def _tolerances(expected, shape, dtype):
    """Yields values and how far a right implementation may be from them."""
    terms = (shape.channels, shape.filters, shape.positions)
    for (value, root), n in zip(expected, terms, strict=True):
        yield value, tolerance(value, root, n, dtype)
