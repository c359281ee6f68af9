"""Batch norm against its definition."""

import functools
import types

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.dense import ClassEmbedding
from sagan.layers.numerics.deviations import ROUNDING

EPSILON = 1e-5
LABELS = np.array([3, 0, 3], np.int32)


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


def _exact(variable):
    return tf.cast(tf.convert_to_tensor(variable), tf.float64)


def _moments(inputs):
    inputs = np.float64(inputs)
    return inputs.mean((0, 1, 2)), inputs.var((0, 1, 2))


def _standardize(inputs, mean, variance, epsilon=EPSILON):
    return (inputs - mean) / (variance + epsilon) ** 0.5


def _definition(layer, inputs, gain, bias, training, labels=LABELS):
    """The layer in float64; a table of gain and bias has a row a label."""
    if training:
        moments = tf.nn.moments(inputs, [0, 1, 2])
    else:
        moments = _exact(layer.moving_mean), _exact(layer.moving_variance)
    if layer.num_classes:
        gain, bias = (tf.gather(x, labels)[:, None, None] for x in (gain, bias))
    return _standardize(inputs, *moments) * gain + bias


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_gradients_are_those_of_the_definition(
    num_classes, training
):
    layer, inputs = _make(num_classes), tf.constant(_draw())
    before = layer.get_weights()
    exact = [_exact(x) for x in (inputs, layer.gain, layer.bias)]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([inputs, *exact])
        expected = _definition(layer, *exact, training)
        outputs = layer(inputs, LABELS, training=training)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    direction = tf.random.stateless_normal(outputs.shape, [1, 2])
    gradients = tape.gradient(
        outputs, [inputs, layer.gain.value, layer.bias.value], direction
    )
    references = tape.gradient(expected, exact, tf.cast(direction, tf.float64))
    for gradient, reference in zip(gradients, references, strict=True):
        gradient, reference = map(tf.convert_to_tensor, (gradient, reference))
        scale = np.abs(reference).max()
        np.testing.assert_allclose(gradient, reference, atol=1e-5 * scale)
    if not training:
        # An image does not depend on the others of its batch.
        alone = layer(inputs[:1], LABELS[:1])
        np.testing.assert_allclose(alone, expected[:1], rtol=1e-5, atol=1e-5)
        np.testing.assert_equal(layer.get_weights(), before)


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
    layer, inputs = _make(), _draw()
    moments = layer.moving_mean, layer.moving_variance
    before = [moment.numpy() for moment in moments]
    inputs[1, 0, 1, 2] = bad
    layer(inputs, training=True)
    np.testing.assert_array_equal([m.numpy() for m in moments], before)


@pytest.mark.parametrize("num_classes", [0, 4])
def test_an_omitted_bias_changes_the_moving_mean_alone(num_classes):
    inputs, bias = tf.constant(_draw()), tf.linspace(-3.0, 4.0, 6)
    before = types.SimpleNamespace(bias=bias)
    found = []
    for add in (True, False):
        layer = _make(num_classes, decay=0.5)
        with tf.GradientTape() as tape:
            tape.watch((inputs, bias))
            outputs = layer(
                inputs + bias if add else inputs,
                LABELS,
                training=True,
                omit_bias_of=None if add else before,
            )
        direction = tf.random.stateless_normal(outputs.shape, [1, 2])
        gradients = tape.gradient(outputs, (inputs, bias), direction)
        found.append((outputs, *layer.weights, *gradients))
    for one, other in zip(*found, strict=True):
        one, other = map(tf.convert_to_tensor, (one, other))
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found[1][-1], np.zeros(6))


def test_the_decay_is_reached_after_the_first_updates():
    layer = BatchNorm(decay=0.999)
    layer.build((None, None, None, 6))
    # (1 + n) / (10 + n) is 0.999 at n = 8990.
    for updates, tolerance in ((8989.0, 2e-3), (1e6, 1e-4)):
        layer.updates.assign(updates)
        layer.moving_mean.assign(tf.zeros(6))
        layer(np.ones((1, 2, 2, 6), np.float32), training=True)
        np.testing.assert_allclose(layer.moving_mean, 0.001, rtol=tolerance)


@pytest.mark.parametrize("training", [False, True])
def test_epsilon_is_added_to_the_variance(training):
    layer = BatchNorm()
    inputs = 1e-3 * _draw(shape=(2, 3, 3, 2))
    layer.build(inputs.shape)
    moments = _moments(inputs)
    layer.moving_mean.assign(moments[0])
    layer.moving_variance.assign(moments[1])
    expected = _standardize(inputs, *moments)
    # At this variance, of 1e-6 to 4e-6, another epsilon would be far off.
    np.testing.assert_allclose(
        layer(inputs, training=training), expected, atol=1e-4
    )
    without = _standardize(inputs, *moments, epsilon=0.0)
    assert np.abs(without - expected).max() > 0.5


def test_a_single_position_is_normalised_to_the_bias():
    layer = _make()
    outputs = layer(_draw(shape=(1, 1, 1, 6)), training=True)
    np.testing.assert_allclose(outputs[0, 0, 0], layer.bias, atol=1e-5)
    assert np.all(np.isfinite(layer.moving_variance))


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_keeps_statistics_in_float32(num_classes, dtype):
    # A sum of these squares, about 1e8, would overflow float16.
    inputs = tf.cast(300.0 * _draw(shape=(4, 8, 8, 6)), dtype)
    labels = np.array([0, 3, 1, 1])
    layer = _make(num_classes, decay=0.0, dtype=f"mixed_{dtype}")
    outputs = layer(inputs, labels, training=True)
    assert outputs.dtype == dtype
    for variable in layer.variables:
        assert variable.value.dtype == tf.float32
    mean, variance = _moments(inputs)
    np.testing.assert_allclose(layer.moving_mean, mean, rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, variance, rtol=1e-4)
    exact, gain, bias = map(_exact, (inputs, layer.gain, layer.bias))
    expected, scaled = (
        _definition(layer, exact, gain, x, True, labels)
        for x in (bias, tf.zeros_like(bias))
    )
    # The normalised value, the gain, the product and the sum are rounded.
    size = np.abs(scaled) + np.abs(expected - scaled) + 1
    error = np.abs(np.float64(outputs) - expected)
    assert (error <= ROUNDING[dtype] * 4 * size).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_class_weights_mix_the_outputs_of_classes(dtype):
    """Gain and bias are linear in them, and so is the output."""
    layer = _make(4, dtype=dtype)
    weights = np.array([[0, 0, 0, 1], [0.25, 0, 0.75, 0], [1, 0, 0, 0]])
    mixed = layer(_draw(), np.float32(weights))
    whole = [layer(_draw(), np.full(3, i)) for i in range(4)]
    expected = np.einsum("nc,cnhwk->nhwk", weights, np.float64(whole))
    atol = 1e-5 if dtype == "float32" else 32 * ROUNDING["bfloat16"]
    np.testing.assert_allclose(np.float64(mixed), expected, atol=atol)
    # A class that is all the weight is that class, bitwise.
    np.testing.assert_array_equal(mixed[0], whole[3][0])


def _normalised(**settings):
    """A layer whose tables have norms that differ from 1, and a known `u`."""
    layer = BatchNorm(4, embedding=ClassEmbedding, **settings)
    layer.build((None, None, None, 6))
    for seed, table in enumerate((layer.gain, layer.bias)):
        rng = np.random.default_rng(seed)
        table.kernel.assign(3.0 * rng.normal(size=(4, 6)))
    return layer


def test_normalised_tables_are_divided_by_their_largest_singular_value():
    layer = _normalised()
    before = [table.u.numpy() for table in (layer.gain, layer.bias)]
    layer(_draw(), LABELS)
    for table, u in zip((layer.gain, layer.bias), before, strict=True):
        np.testing.assert_array_equal(table.u, u)
    for _ in range(100):
        layer(_draw(), LABELS, training=True)
    expected = [
        kernel / np.linalg.svd(kernel, compute_uv=False)[0]
        for table in (layer.gain, layer.bias)
        for kernel in [np.float64(table.kernel)]
    ]
    gain, bias = layer.tables()
    np.testing.assert_allclose(gain, 1.0 + expected[0], rtol=1e-5)
    np.testing.assert_allclose(bias, expected[1], rtol=1e-4, atol=1e-6)
    moments = _moments(_draw())
    outputs = _standardize(np.float64(_draw()), *moments)
    rows = [table[LABELS][:, None, None] for table in expected]
    outputs = outputs * (1.0 + rows[0]) + rows[1]
    found = layer(_draw(), LABELS, training=True)
    np.testing.assert_allclose(found, outputs, rtol=1e-4, atol=1e-4)
    # Class weights mix the same tables.
    weights = np.eye(4, dtype=np.float32)[LABELS]
    mixed = layer(_draw(), weights, training=True)
    np.testing.assert_allclose(mixed, found, atol=1e-5)


@pytest.mark.parametrize("name", ["gain", "bias"])
def test_the_gradient_of_a_normalised_table_is_that_of_its_quotient(name):
    """Against differences in float64, with the converged vectors."""
    layer = _normalised()
    for _ in range(200):
        layer(_draw(), LABELS, training=True)
    table = getattr(layer, name)
    direction = np.random.default_rng(5).normal(size=(3, 4, 5, 6))
    with tf.GradientTape() as tape:
        outputs = layer(_draw(), LABELS, training=True)
        loss = tf.reduce_sum(outputs * np.float32(direction))
    gradient = tf.convert_to_tensor(tape.gradient(loss, table.kernel.value))
    kernel = np.float64(table.kernel)
    factor = _standardize(np.float64(_draw()), *_moments(_draw()))
    if name == "bias":
        factor = np.ones_like(factor)
    sums = (direction * factor).sum((1, 2))  # [batch, channels]

    def exact(kernel):
        normed = kernel / np.linalg.svd(kernel, compute_uv=False)[0]
        return (normed[LABELS] * sums).sum()

    step, expected = 1e-6, np.zeros_like(kernel)
    for place in np.ndindex(kernel.shape):
        offset = np.zeros_like(kernel)
        offset[place] = step
        slope = exact(kernel + offset) - exact(kernel - offset)
        expected[place] = slope / (2 * step)
    np.testing.assert_allclose(
        gradient, expected, atol=1e-3 * np.abs(expected).max()
    )
