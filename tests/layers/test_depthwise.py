"""The depthwise convolution, and its norm against explicit matrices."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.depthwise import DepthwiseConv3x3, depthwise_norm


def draw_kernel(channels=3, seed=0):
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.5, 2.0, channels)
    return np.float32(rng.normal(size=(3, 3, 1, channels)) * scales)


def matrix_norm(kernel, size, periodic):
    """The norm of the map on images of `size` pixels a side.

    Largest over channels, as their matrices are the blocks of a diagonal.
    """
    norms = []
    for taps in np.moveaxis(np.float64(kernel[:, :, 0]), 2, 0):
        matrix = np.zeros((size, size, size, size))
        for y, x, i, j in np.ndindex(size, size, 3, 3):
            row, column = y + i - 1, x + j - 1
            if periodic:
                row, column = row % size, column % size
            if 0 <= row < size and 0 <= column < size:
                matrix[y, x, row, column] += taps[i, j]
        matrix = matrix.reshape(size**2, size**2)
        norms.append(np.linalg.norm(matrix, 2))
    return max(norms)


@pytest.mark.parametrize("seed", range(3))
def test_the_norm_is_that_of_the_whole_matrix(seed):
    kernel = draw_kernel(seed=seed)
    norm = float(depthwise_norm(tf.constant(kernel)))
    # The frequencies of 8 pixels are every fourth of those of 32.
    periodic = matrix_norm(kernel, 8, periodic=True)
    assert periodic - 1e-5 <= norm <= periodic / np.cos(np.pi / 8) ** 2
    padded = [matrix_norm(kernel, size, periodic=False) for size in (5, 10)]
    assert padded[0] < padded[1] <= norm < 1.2 * padded[1]


def test_the_norm_of_known_filters():
    kernel = np.zeros((3, 3, 1, 3), np.float32)
    kernel[:, :, 0, 0] = 1 / 9  # Keeps a constant image.
    kernel[1, 1, 0, 1] = -2.0
    checkers = np.outer([1, -1, 1], [1, -1, 1])  # Adds up a chequered one.
    kernel[:, :, 0, 2] = checkers / 3
    for channels, expected in (([0], 1.0), ([0, 1], 2.0), ([0, 1, 2], 3.0)):
        norm = depthwise_norm(tf.constant(kernel[..., channels]))
        np.testing.assert_allclose(norm, expected, rtol=1e-5)
    # Many equal channels map no image to a larger one; the reshaped kernel's
    # singular value grows with their number.
    many = np.repeat(kernel[..., :1], 64, axis=-1)
    np.testing.assert_allclose(depthwise_norm(tf.constant(many)), 1, rtol=1e-5)
    assert np.linalg.norm(many.reshape(9, 64), 2) > 2.6


def test_the_gradient_of_the_norm_is_that_of_finite_differences():
    kernel = np.float64(draw_kernel())
    variable = tf.constant(kernel, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        norm = depthwise_norm(variable)
    found = tape.gradient(norm, variable).numpy()
    step = 1e-3
    for index in np.ndindex(kernel.shape):
        change = np.zeros_like(kernel)
        change[index] = step
        ends = [
            float(
                depthwise_norm(tf.constant(kernel + sign * change, "float32"))
            )
            for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(found[index], expected, atol=1e-3)


def make(channels=3, **settings):
    layer = DepthwiseConv3x3(**settings)
    layer.build((None, None, None, channels))
    layer.kernel.assign(draw_kernel(channels))
    layer.bias.assign(np.arange(channels) - 1.0)
    return layer


@pytest.mark.parametrize("resample", [None, "up"])
@pytest.mark.parametrize("spectral_norm", [True, False])
def test_the_layer_equals_a_loop(resample, spectral_norm):
    layer = make(resample=resample, spectral_norm=spectral_norm)
    inputs = np.random.default_rng(1).normal(size=(2, 4, 5, 3))
    images = inputs
    if resample:
        images = inputs.repeat(2, axis=1).repeat(2, axis=2)
    kernel = np.float64(layer.kernel)[:, :, 0]
    if spectral_norm:
        kernel = kernel / float(layer.largest_singular_value())
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    height, width = images.shape[1:3]
    expected = np.float64(layer.bias) + sum(
        padded[:, i : i + height, j : j + width] * kernel[i, j]
        for i, j in np.ndindex(3, 3)
    )
    call = tf.function(
        layer, input_signature=[tf.TensorSpec([None, None, None, 3])]
    )
    for function in (layer, call):
        outputs = function(tf.constant(inputs, tf.float32))
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_the_normalised_map_enlarges_no_image():
    layer = make()
    layer.bias.assign(tf.zeros(3))
    effective = layer.effective_kernel().numpy()
    assert 0.8 < matrix_norm(effective, 10, periodic=False) <= 1.0
    assert not [v for v in layer.weights if not v.trainable]  # No `u`.


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_gradient_of_the_kernel_is_summed_in_float32(policy):
    """Of 16,384 ones, at which a sum in 16 bits stalls."""
    keras.config.set_dtype_policy(policy)
    layer = make(channels=2, spectral_norm=False)
    inputs = tf.ones([16, 32, 32, 2], layer.compute_dtype)
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        # Casts first, as the sum would stall itself.
        total = tf.reduce_sum(tf.cast(outputs, tf.float32))
    gradients = tape.gradient(total, [layer.kernel, layer.bias])
    assert outputs.dtype == layer.compute_dtype
    edge = np.array([31, 32, 31])
    expected = 16.0 * np.outer(edge, edge)
    for channel in range(2):
        np.testing.assert_array_equal(gradients[0][:, :, 0, channel], expected)
    np.testing.assert_array_equal(gradients[1], [16384.0, 16384.0])


def test_a_zero_kernel_gives_zeros_and_finite_gradients():
    layer = make()
    layer.kernel.assign(tf.zeros_like(layer.kernel))
    layer.bias.assign(tf.zeros(3))
    with tf.GradientTape() as tape:
        outputs = layer(tf.ones([1, 4, 4, 3]))
    assert not np.any(outputs)
    assert np.all(np.isfinite(tape.gradient(outputs, layer.kernel.value)))


def test_the_initial_gain_does_not_depend_on_the_number_of_channels():
    for channels in (2, 64):
        layer = DepthwiseConv3x3(spectral_norm=False)
        layer.build((None, 4, 4, channels))
        assert 0.15 < np.std(layer.kernel) < 0.5  # 1 / 3.
        assert np.abs(layer.kernel).max() <= np.sqrt(1 / 3)


def test_pooling_is_no_resampling_of_this_layer():
    with pytest.raises(ValueError, match="'down'.*None or 'up'"):
        DepthwiseConv3x3(resample="down")
