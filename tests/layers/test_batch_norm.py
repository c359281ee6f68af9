"""Batch norm against its definition."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.batch_norm import BatchNorm

ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
EPSILON = 1e-5


@pytest.fixture(params=[True, False], ids=["fused", "plain"], autouse=True)
def _form(request, monkeypatch):
    """Every test is of both forms."""
    made = functools.partial(BatchNorm, fused=request.param)
    monkeypatch.setitem(globals(), "BatchNorm", made)


def _draw(seed=0, shape=(3, 4, 5, 6)):
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=shape) * np.arange(1, shape[-1] + 1) + 2.0
    return inputs.astype(np.float32)


def _make(num_classes=0, channels=6, **kwargs):
    """A layer whose gains, biases and moments are all different numbers."""
    layer = BatchNorm(num_classes, **kwargs)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(9)
    for variable in (layer.gain, layer.bias, layer.moving_mean):
        variable.assign(rng.normal(size=variable.shape))
    layer.moving_variance.assign(rng.uniform(0.5, 2.0, channels))
    return layer


def _moments(inputs):
    inputs = np.asarray(inputs, np.float64)
    return inputs.mean((0, 1, 2)), inputs.var((0, 1, 2))


def _reference(inputs, mean, variance, gain, bias, epsilon=EPSILON):
    inputs = np.asarray(inputs, np.float64)
    return (inputs - mean) / np.sqrt(variance + epsilon) * gain + bias


def test_training_uses_the_moments_of_the_batch():
    layer, inputs = _make(), _draw()
    expected = _reference(
        inputs, *_moments(inputs), layer.gain.numpy(), layer.bias.numpy()
    )
    outputs = layer(inputs, training=True)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_inference_uses_the_moving_moments_and_changes_nothing():
    layer, inputs = _make(), _draw()
    before = layer.get_weights()
    gain, bias, mean, variance = (x.astype(np.float64) for x in before[:4])
    expected = _reference(inputs, mean, variance, gain, bias)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)
    # An image does not depend on the others of its batch.
    np.testing.assert_allclose(
        layer(inputs[:1]), expected[:1], rtol=1e-5, atol=1e-5
    )
    for one, other in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_moving_moments_follow_the_biased_moments_of_the_batch(decay):
    layer = BatchNorm(decay=decay)
    layer.build((None, None, None, 6))
    mean, variance = np.zeros(6), np.ones(6)
    for n in range(6):
        inputs = _draw(seed=n, shape=(2, 2, 1, 6))
        layer(inputs, training=True)
        rate = min(decay, (1 + n) / (10 + n))
        batch_mean, batch_variance = _moments(inputs)
        mean = rate * mean + (1 - rate) * batch_mean
        variance = rate * variance + (1 - rate) * batch_variance
        np.testing.assert_allclose(layer.moving_mean, mean, atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-5)
        assert layer.updates.numpy() == n + 1


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_batch_that_is_not_finite_leaves_the_moments_alone(bad):
    layer = BatchNorm()
    layer(tf.random.stateless_normal([4, 2, 2, 3], [0, 1]), training=True)
    before = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    inputs = np.ones([4, 2, 2, 3], np.float32)
    inputs[1, 0, 1, 2] = bad
    layer(inputs, training=True)
    after = [layer.moving_mean.numpy(), layer.moving_variance.numpy()]
    np.testing.assert_array_equal(after, before)


def test_the_decay_is_reached_after_the_first_updates():
    layer = BatchNorm(decay=0.999)
    layer.build((None, None, None, 6))
    layer.updates.assign(8989.0)  # (1 + n) / (10 + n) is 0.999 at n = 8990.
    layer(np.ones((1, 2, 2, 6), np.float32), training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.001, rtol=2e-3)
    layer.updates.assign(1e6)
    layer.moving_mean.assign(tf.zeros(6))
    layer(np.ones((1, 2, 2, 6), np.float32), training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.001, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_conditional_gain_and_bias_are_the_row_of_the_label(training):
    layer, inputs = _make(num_classes=4), _draw()
    labels = np.array([3, 0, 3], np.int32)
    gain, bias = layer.gain.numpy()[labels], layer.bias.numpy()[labels]
    moments = (
        _moments(inputs)
        if training
        else (layer.moving_mean.numpy(), layer.moving_variance.numpy())
    )
    expected = _reference(
        inputs, *moments, gain[:, None, None], bias[:, None, None]
    )
    outputs = layer(inputs, labels, training=training)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def test_tables_of_equal_rows_are_the_plain_layer():
    plain, conditional, inputs = _make(), _make(num_classes=3), _draw()
    for table, row in (
        (conditional.gain, plain.gain),
        (conditional.bias, plain.bias),
    ):
        table.assign(tf.tile(row[None], [3, 1]))
    for name in ("moving_mean", "moving_variance"):
        getattr(conditional, name).assign(getattr(plain, name))
    for training in (True, False):
        np.testing.assert_allclose(
            conditional(inputs, np.array([0, 1, 2]), training=training),
            plain(inputs, training=training),
            atol=1e-5,
        )
    np.testing.assert_array_equal(conditional.moving_mean, plain.moving_mean)


@pytest.mark.parametrize("training", [False, True])
def test_epsilon_is_added_to_the_variance(training):
    layer = BatchNorm()
    inputs = 1e-3 * _draw(shape=(2, 3, 3, 2))
    layer.build(inputs.shape)
    mean, variance = _moments(inputs)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    expected = _reference(inputs, mean, variance, 1.0, 0.0)
    # At this variance, of 1e-6 to 4e-6, another epsilon would be far off.
    np.testing.assert_allclose(
        layer(inputs, training=training), expected, atol=1e-4
    )
    without = _reference(inputs, mean, variance, 1.0, 0.0, epsilon=0.0)
    assert np.abs(without - expected).max() > 0.5


def test_a_single_position_is_normalised_to_the_bias():
    layer = _make()
    outputs = layer(_draw(shape=(1, 1, 1, 6)), training=True)
    np.testing.assert_allclose(outputs[0, 0, 0], layer.bias, atol=1e-5)
    assert np.all(np.isfinite(layer.moving_variance))


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_keeps_statistics_in_float32(num_classes, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    # A sum of these squares, about 1e8, would overflow float16.
    inputs = tf.cast(300.0 * _draw(shape=(4, 8, 8, 6)), dtype)
    labels = np.array([0, 3, 1, 1])
    layer = _make(num_classes, decay=0.0)
    outputs = layer(inputs, labels, training=True)
    assert outputs.dtype == dtype
    for variable in layer.variables:
        assert variable.value.dtype == tf.float32
    exact = tf.cast(inputs, tf.float64).numpy()
    mean, variance = _moments(exact)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
    gain, bias = layer.gain.numpy(), layer.bias.numpy()
    if num_classes:
        gain, bias = (x[labels][:, None, None] for x in (gain, bias))
    expected = _reference(exact, mean, variance, gain, bias)
    # The normalised value, the gain, the product and the sum are rounded.
    bound = ROUNDING[dtype] * 4 * (np.abs(expected - bias) + np.abs(bias) + 1)
    error = np.abs(tf.cast(outputs, tf.float64).numpy() - expected)
    assert (error <= bound).all(), (error / bound).max()


def _plain_formulation(layer, inputs, gain, bias, labels, training):
    if training:
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
    else:
        mean, variance = (
            tf.cast(x.value, inputs.dtype)
            for x in (layer.moving_mean, layer.moving_variance)
        )
    if layer.num_classes:
        gain, bias = (tf.gather(x, labels)[:, None, None] for x in (gain, bias))
    return (inputs - mean) * tf.math.rsqrt(variance + EPSILON) * gain + bias


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("training", [False, True])
def test_gradients_equal_those_of_the_plain_formulation(num_classes, training):
    layer = _make(num_classes)
    inputs, labels = tf.constant(_draw()), tf.constant([3, 0, 3])
    exact = [
        tf.cast(tf.convert_to_tensor(x), tf.float64)
        for x in (inputs, layer.gain, layer.bias)
    ]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([inputs, *exact])
        expected = _plain_formulation(layer, *exact, labels, training)
        actual = layer(inputs, labels, training=training)
    direction = tf.random.stateless_normal(actual.shape, [1, 2])
    gradients = tape.gradient(
        actual, [inputs, layer.gain.value, layer.bias.value], direction
    )
    references = tape.gradient(expected, exact, tf.cast(direction, tf.float64))
    for gradient, reference in zip(gradients, references, strict=True):
        scale = np.abs(tf.convert_to_tensor(reference)).max()
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient),
            tf.convert_to_tensor(reference),
            atol=1e-5 * scale,
        )
