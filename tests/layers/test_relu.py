"""ReLU of every bfloat16 number, and where NaN must show."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.relu import relu

BITS = np.arange(2**16, dtype=np.uint16)
EVERY = BITS.view(tf.bfloat16.as_numpy_dtype)
IS_NAN = (BITS & 0x7FFF) > 0x7F80


@pytest.mark.parametrize("jit_compile", [False, True])
def test_every_number_and_its_gradient(jit_compile):
    inputs = tf.constant(EVERY[~IS_NAN])
    direction = tf.cast(
        tf.random.stateless_normal(inputs.shape, [0, 1]), tf.bfloat16
    )

    @tf.function(jit_compile=jit_compile)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = relu(inputs)
        return outputs, tape.gradient(outputs, inputs, direction)

    outputs, gradient = run()
    assert outputs.dtype == gradient.dtype == tf.bfloat16
    exact = np.float64(inputs)
    np.testing.assert_array_equal(outputs, np.maximum(exact, 0.0))
    # TensorFlow takes numbers below the smallest normal one for zero.
    kept = (np.abs(exact) >= 2.0**-126) | (exact <= 0.0)
    np.testing.assert_array_equal(
        np.float64(gradient)[kept],
        np.where(exact > 0.0, np.float64(direction), 0.0)[kept],
    )


def test_every_nan_shows_alone():
    """Of either sign: among finite numbers, one is enough."""
    for value in EVERY[IS_NAN][::7]:
        outputs = relu(tf.constant(np.array([-1.0, value], EVERY.dtype)))
        assert tf.math.is_nan(outputs)[1]


def test_its_gradient_can_be_differentiated():
    inputs = tf.constant([-2.0, 0.5, 3.0], tf.bfloat16)
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            outputs = relu(inputs) ** 3
        gradient = inner.gradient(outputs, inputs)
    second = outer.gradient(gradient, inputs)
    np.testing.assert_array_equal(second, [0.0, 3.0, 18.0])
