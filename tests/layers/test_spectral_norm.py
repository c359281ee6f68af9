"""Spectral norm: sigma, its gradient, and which variables move when."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.conv import Conv3x3
from sagan.layers.dense import ClassEmbedding, Dense
from sagan.layers.pointwise import Pointwise
from sagan.layers.spectral_norm import spectral_layers, spectral_normalize

IMAGES = (2, 4, 4, 3)
# Of each kind: the layer, and the shape of its inputs.
LAYERS = {
    "conv3x3": (Conv3x3, 6, IMAGES),
    "conv3x3_up": (partial(Conv3x3, resample="up"), 6, IMAGES),
    "conv3x3_down": (partial(Conv3x3, resample="down"), 6, IMAGES),
    "pointwise": (Pointwise, 4, (2, 3, 3, 5)),
    "dense": (Dense, 7, (2, 5)),
    "embedding": (partial(ClassEmbedding, 9), 4, (5,)),
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


def _make(kind, **kwargs):
    """Returns a built layer with a kernel of scale 3, and its inputs."""
    make, filters, shape = LAYERS[kind]
    layer = make(filters, **kwargs)
    if kind == "embedding":
        inputs = tf.constant([0, 8, 3, 3, 1])
    else:
        inputs = tf.random.stateless_normal(shape, [1, 1])
    layer.build(shape)
    layer.kernel.assign(_normal(layer.kernel.shape, 3.0))
    return layer, inputs


def _normal(shape, scale=1.0, seed=0):
    return scale * np.random.default_rng(seed).normal(size=shape)


def _sigma(kernel):
    matrix = np.float64(kernel).reshape(-1, kernel.shape[-1])
    return np.linalg.svd(matrix, compute_uv=False)[0]


def _float32(*arrays):
    return [tf.constant(array, tf.float32) for array in arrays]


@each_layer
def test_sigma_becomes_the_largest_singular_value(kind):
    layer, inputs = _make(kind)
    exact = _sigma(layer.kernel)
    for _ in range(300):
        layer.effective_kernel(training=True)
    np.testing.assert_allclose(layer.largest_singular_value(), exact, rtol=1e-5)
    effective = layer.effective_kernel()
    np.testing.assert_allclose(effective, layer.kernel / exact, rtol=1e-5)
    np.testing.assert_allclose(_sigma(effective), 1.0, rtol=1e-5)


def _power_iteration(kernel, u):
    """The v and u one call of the code holds constant, in float64."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    v = matrix @ u.ravel()
    v /= np.linalg.norm(v)
    u = v @ matrix
    return v, u / np.linalg.norm(u)


@pytest.mark.parametrize("seed", range(5))
def test_one_call_is_one_power_iteration(seed):
    kernel, start = _normal((3, 3, 2, 5)), _normal((1, 5), seed=seed)
    normalized, new_u = spectral_normalize(*_float32(kernel, start))
    v, u = _power_iteration(kernel, start)
    estimate = v @ kernel.reshape(-1, 5) @ u
    np.testing.assert_allclose(normalized, kernel / estimate, rtol=1e-5)
    np.testing.assert_allclose(new_u[0], u, rtol=1e-5)
    assert 0 < estimate <= _sigma(kernel)


def _gradient(kernel, u, direction):
    kernel, u, direction = _float32(kernel, u, direction)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        normalized, _ = spectral_normalize(kernel, u)
    return tape.gradient(normalized, kernel, direction).numpy()


def test_the_gradient_is_that_of_kernel_over_sigma():
    kernel, u = _normal((3, 3, 2, 4)), _normal((1, 4), seed=1)
    direction = _normal(kernel.shape, seed=2)
    v, u_new = _power_iteration(kernel, u)

    def value(kernel):
        sigma = v @ kernel.reshape(-1, 4) @ u_new
        return np.sum(direction * kernel) / sigma

    expected, step = np.zeros_like(kernel), 1e-5
    for index in np.ndindex(kernel.shape):
        change = np.zeros_like(kernel)
        change[index] = step
        difference = value(kernel + change) - value(kernel - change)
        expected[index] = difference / (2 * step)
    actual = _gradient(kernel, u, direction)
    np.testing.assert_allclose(
        actual, expected, atol=1e-5 * np.abs(expected).max()
    )
    # What a gradient that stops at sigma would be is something else.
    without = (
        direction * (actual.ravel() @ direction.ravel()) / np.sum(direction**2)
    )
    assert np.abs(actual - without).max() > 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("iterations", [0, 100])
def test_the_gradient_has_no_part_along_the_kernel(iterations):
    """The normalised kernel does not change with the kernel's scale."""
    kernel, u = _normal((12, 5)), _normal((1, 5), seed=1)
    for _ in range(iterations):
        u = _power_iteration(kernel, u)[1][None]
    gradient = _gradient(kernel, u, _normal(kernel.shape, seed=2))
    size = np.linalg.norm(gradient) * np.linalg.norm(kernel)
    assert abs(np.sum(gradient * kernel)) < 1e-6 * size


def test_the_converged_gradient_is_the_true_one():
    """With u at the singular vector, even the whole function's derivative."""
    kernel, direction = _normal((12, 5)), _normal((12, 5), seed=2)
    left, sigmas, right = np.linalg.svd(kernel, full_matrices=False)
    outer = np.outer(left[:, 0], right[0])
    slope = np.sum(direction * kernel) / sigmas[0] ** 2
    expected = direction / sigmas[0] - slope * outer
    actual = _gradient(kernel, right[:1], direction)
    np.testing.assert_allclose(
        actual, expected, atol=1e-5 * np.abs(expected).max()
    )


@each_layer
def test_u_moves_in_training_only_and_the_kernel_never(kind):
    layer, inputs = _make(kind)
    kernel, u = layer.kernel.numpy(), layer.u.numpy()
    outputs = layer(inputs, training=False)
    np.testing.assert_array_equal(layer(inputs), outputs)
    np.testing.assert_array_equal(layer.u, u)
    # A training call applies the same kernel, but keeps the new u.
    np.testing.assert_array_equal(layer(inputs, training=True), outputs)
    assert np.any(layer.u.numpy() != u)
    np.testing.assert_allclose(np.linalg.norm(layer.u), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(layer.kernel, kernel)
    _, expected_u = _power_iteration(np.float64(kernel), u)
    np.testing.assert_allclose(layer.u[0], expected_u, atol=1e-5)


@each_layer
def test_outputs_do_not_depend_on_the_kernel_s_scale(kind):
    layer, inputs = _make(kind)
    for training in (False, True):
        layer.kernel.assign(_normal(layer.kernel.shape, 1e-3))
        u = layer.u.numpy()
        small = layer(inputs, training=training)
        layer.kernel.assign(_normal(layer.kernel.shape, 1e3))
        layer.u.assign(u)
        large = layer(inputs, training=training)
        assert np.any(small)
        bound = 1e-5 * np.abs(large).max()
        np.testing.assert_allclose(small, large, atol=bound)


@each_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_normalises_in_float32(kind, policy):
    reference, _ = _make(kind)
    keras.config.set_dtype_policy(policy)
    layer, inputs = _make(kind)
    layer.set_weights(reference.get_weights())
    assert layer(inputs, training=True).dtype == policy.removeprefix("mixed_")
    reference.effective_kernel(training=True)
    assert layer.kernel.value.dtype == layer.u.value.dtype == tf.float32
    np.testing.assert_array_equal(layer.u, reference.u)
    expected = reference.effective_kernel()
    assert layer.effective_kernel().dtype == tf.float32
    np.testing.assert_array_equal(layer.effective_kernel(), expected)


@each_layer
def test_without_spectral_norm_the_kernel_is_applied_as_it_is(kind):
    layer, inputs = _make(kind, spectral_norm=False)
    np.testing.assert_array_equal(layer.effective_kernel(True), layer.kernel)
    assert not [w for w in layer.weights if w.name == "u"]
    doubled = 2.0 * layer(inputs, training=True)
    layer.kernel.assign(2.0 * layer.kernel)
    np.testing.assert_allclose(layer(inputs), doubled, rtol=1e-6)


@each_layer
def test_a_zero_kernel_gives_zeros_and_finite_gradients(kind):
    layer, inputs = _make(kind)
    layer.kernel.assign(tf.zeros_like(layer.kernel))
    for training in (False, True, False):
        with tf.GradientTape() as tape:
            outputs = layer(inputs, training=training)
        assert not np.any(outputs)
        gradient = tape.gradient(outputs, layer.kernel)
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient)))


def test_a_kernel_that_was_zero_is_normalised_when_it_no_longer_is():
    layer, inputs = _make("dense")
    kernel = layer.kernel.numpy()
    layer.kernel.assign(tf.zeros_like(kernel))
    layer(inputs, training=True)
    layer.kernel.assign(kernel)
    for _ in range(100):
        layer(inputs, training=True)
    np.testing.assert_allclose(_sigma(layer.effective_kernel()), 1, rtol=1e-4)


def test_spectral_layers_finds_all_normalised_ones_in_order():
    class Network(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = Dense(3)
            self.plain = Dense(4, spectral_norm=False)
            self.pair = (Dense(5), keras.Sequential([Dense(6)]))

        def call(self, inputs):
            outputs = self.plain(self.first(inputs))
            return self.pair[1](self.pair[0](outputs))

    network = Network()
    network(tf.zeros([1, 2]))
    assert [layer.filters for layer in spectral_layers(network)] == [3, 5, 6]


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_largest_singular_value_is_that_of_the_raw_kernel(spectral_norm):
    layer, _ = _make("conv3x3", spectral_norm=spectral_norm)
    # One value far above the others, so that power iterations are quick.
    for scale in (1.0, 10.0):
        kernel = scale * _normal((3, 3, 3, 6)) * [3, 1, 1, 1, 1, 1]
        layer.kernel.assign(kernel)
        for _ in range(30):
            layer.effective_kernel(training=True)
        np.testing.assert_allclose(
            layer.largest_singular_value(), _sigma(kernel), rtol=0.02
        )
