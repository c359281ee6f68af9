"""Channel recalibration against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_weights import randomize

from sagan.layers.recalibration import Recalibration


def make(filters):
    layer = Recalibration(filters)
    layer(tf.zeros([1, 2, 2, filters]))
    randomize(layer)
    return layer


def expected_gates(layer, inputs):
    values = np.float64(inputs).mean(axis=(1, 2))
    for inner in (layer.reduce, layer.expand):
        kernel = np.float64(inner.effective_kernel())[0, 0]
        values = values @ kernel + np.float64(inner.bias)
        if inner is layer.reduce:
            values = np.maximum(values, 0.0)
    return 1.0 / (1.0 + np.exp(-values))


def test_each_channel_of_each_image_gets_its_gate():
    layer = make(32)
    inputs = np.random.default_rng(0).normal(1.0, 2.0, (3, 4, 5, 32))
    gates = expected_gates(layer, inputs)
    assert layer.reduce.filters == 2
    assert np.ptp(gates, axis=0).min() > 0
    call = tf.function(
        layer, input_signature=[tf.TensorSpec([None, None, None, 32])]
    )
    outputs = call(tf.constant(inputs, tf.float32))
    expected = inputs * gates[:, None, None]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    parameters = sum(np.prod(v.shape) for v in layer.trainable_variables)
    assert parameters == 2 * 32 * 2 + 2 + 32


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_sums_over_positions_are_float32(policy):
    """Those of 16,384 ones, at which a sum in 16 bits stalls."""
    keras.config.set_dtype_policy(policy)
    layer = make(1)
    layer.reduce.kernel.assign([[[[0.0]]]])  # No gate depends on the input.
    layer.expand.bias.assign([0.0])
    inputs = tf.ones([1, 128, 128, 1], layer.compute_dtype)
    with tf.GradientTape() as tape:
        outputs = tf.cast(layer(inputs), tf.float32)
    gradient = tape.gradient(outputs, layer.expand.bias.value)
    gate = expected_gates(layer, inputs)[0]
    slope = 16384.0 * gate * (1.0 - gate)
    np.testing.assert_allclose(gradient, slope, rtol=0.01)
    np.testing.assert_allclose(np.unique(outputs), gate, rtol=0.01)
