"""Scale and shift, and the sums of their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.affine import scale, shift

TOLERANCES = {"float32": 1e-6, "bfloat16": 2e-2, "float16": 2e-3}
LARGE = (64, 32, 32, 8)


def gradient_of_ones(function, inputs, parameter):
    with tf.GradientTape() as tape:
        tape.watch(parameter)
        outputs = function(inputs, parameter)
    return tape.gradient(outputs, parameter, tf.ones_like(outputs))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("shape", [(), (8,), (64, 1, 1, 8), (1, 1, 1, 8)])
def test_sums_do_not_stall(dtype, shape):
    addends = np.prod(LARGE) / np.prod(shape)
    inputs = tf.ones(LARGE, dtype)
    for function in (shift, scale):
        gradient = gradient_of_ones(function, inputs, tf.zeros(shape))
        assert gradient.dtype == tf.float32
        np.testing.assert_array_equal(gradient, np.full(shape, addends))


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
def test_values_and_gradients_are_those_of_the_definition(dtype, tolerance):
    rng = np.random.default_rng(0)
    inputs = tf.cast(rng.normal(size=(4, 3, 3, 2)), dtype)
    gain = tf.constant(rng.normal(size=(4, 1, 1, 2)), tf.float32)
    direction = tf.cast(rng.normal(size=inputs.shape), dtype)
    x, factor, d = (np.float64(t) for t in (inputs, gain, direction))
    for function, values, d_inputs, d_gain in (
        (scale, x * factor, d * factor, d * x),
        (shift, x + factor, d, d),
    ):
        with tf.GradientTape() as tape:
            tape.watch((inputs, gain))
            outputs = function(inputs, gain)
        assert outputs.dtype == inputs.dtype
        found = tape.gradient(outputs, (inputs, gain), direction)
        for one, other in ((outputs, values), (found[0], d_inputs)):
            np.testing.assert_allclose(
                np.float64(one), other, tolerance, tolerance
            )
        # A sum in float32, which in bfloat16 is rounded once, as its addends.
        exact = tolerance if dtype == "bfloat16" else 1e-5
        expected = d_gain.sum((1, 2), keepdims=True)
        np.testing.assert_allclose(found[1], expected, rtol=exact, atol=exact)


@pytest.mark.parametrize("function", [shift, scale])
def test_the_number_of_images_may_be_unknown(function):
    gradient = tf.function(
        lambda *arguments: gradient_of_ones(function, *arguments),
        input_signature=[
            tf.TensorSpec([None, None, 1, 2]),
            tf.TensorSpec([None, 1, 1, 2]),
        ],
    )
    found = gradient(tf.ones([3, 5, 1, 2]), tf.ones([3, 1, 1, 2]))
    np.testing.assert_array_equal(found, np.full([3, 1, 1, 2], 5.0))
