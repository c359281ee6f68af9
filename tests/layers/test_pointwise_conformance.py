"""Every pointwise implementation equals a product in float64.

A few telling shapes; tests/endurance has every shape of the shipped networks.
"""

import numpy as np
import pytest
import tensorflow as tf
from refusals import assert_refused

from sagan.layers import pointwise
from sagan.layers.numerics.exact import exact_results
from sagan.profiling import conformance
from sagan.profiling.conformance import MODES, RESULTS, ROUNDING, errors
from sagan.profiling.pointwise import Shape

SHAPES = (
    Shape(2, 3, 5, 4, 7),
    Shape(2, 1, 1, 8, 1),  # One position, one filter.
    Shape(1, 8, 8, 64, 8),  # A key of an attention block.
)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_exact_to_rounding(shape, dtype):
    found = errors(shape, dtype, MODES)
    rows = len(pointwise.IMPLEMENTATIONS)
    assert len(found) == len(MODES) * rows * len(RESULTS)
    wrong = {key[:2] for key, error in found.items() if not error <= 1}
    for mode, name in wrong:
        inputs = shape.batch, shape.height, shape.width, shape.channels
        assert_refused(name, inputs, shape.filters, dtype, mode)


def test_the_reference_is_a_loop_over_positions():
    rng = np.random.default_rng(0)
    inputs, kernel, direction = (
        rng.normal(size=size)
        for size in ((2, 3, 4, 5), (1, 1, 5, 6), (2, 3, 4, 6))
    )
    outputs, d_inputs = np.zeros_like(direction), np.zeros_like(inputs)
    d_kernel = np.zeros_like(kernel)
    for position in np.ndindex(2, 3, 4):
        outputs[position] = inputs[position] @ kernel[0, 0]
        d_inputs[position] = kernel[0, 0] @ direction[position]
        d_kernel[0, 0] += np.outer(inputs[position], direction[position])
    exact = exact_results(
        inputs, kernel, direction, None, *map(np.arange, (2, 5, 6))
    )
    loop = (outputs, d_inputs, d_kernel)
    for (value, root, terms), expected, n in zip(
        exact, loop, (5, 6, 2 * 3 * 4), strict=True
    ):
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        assert root.shape == expected.shape
        assert terms == n


@pytest.mark.parametrize(
    "wrong",
    [
        lambda inputs, kernel: pointwise.gemm(inputs, kernel[..., ::-1]),
        lambda inputs, kernel: pointwise.gemm(inputs, kernel) * 1.01,
        lambda inputs, kernel: pointwise.gemm(inputs[:, ::-1], kernel),
        lambda inputs, kernel: pointwise.gemm(
            tf.stop_gradient(inputs) + (inputs - tf.stop_gradient(inputs)) * 2,
            kernel,
        ),
        lambda inputs, kernel: pointwise.gemm(inputs, kernel) * np.nan,
    ],
    ids=["filters reversed", "1 % off", "rows reversed", "gradient", "NaN"],
)
def test_a_wrong_implementation_is_noticed(wrong, monkeypatch):
    monkeypatch.setitem(pointwise.IMPLEMENTATIONS, "wrong", wrong)
    shapes = Shape(2, 4, 4, 256, 64), Shape(1, 3, 2, 64, 5)
    worst, cases = conformance.check(shapes, ["float32"], ["eager"])
    bad = {row for row, error in worst.items() if not error <= 1}
    assert bad == {("float32", "eager", "wrong")}
    assert {name for name, *_ in cases} == {"wrong"}
