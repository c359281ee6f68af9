"""The 3x3 convolution, and its fused form against the plain one."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from sagan.discriminator import DISCRIMINATOR_FLAT_BLOCKS, DISCRIMINATOR_WIDTHS
from sagan.generator import GENERATOR_WIDTHS
from sagan.layers.conv import (
    Conv3x3,
    conv_downsample,
    downsample,
    upsample,
    upsample_conv,
)
from sagan.layers.numerics.deviations import ROUNDING

UP_SIZES = ((1, 1), (1, 4), (2, 2), (3, 5), (4, 7), (8, 6))
DOWN_SIZES = ((2, 2), (3, 3), (3, 4), (4, 3), (5, 7), (8, 6), (2, 9))


def _stages():
    """Those of all networks at base_channels 1."""
    for widths in GENERATOR_WIDTHS.values():
        for i, pair in enumerate(itertools.pairwise(widths)):
            yield "up", 4 * 2**i, *pair
    for size, widths in DISCRIMINATOR_WIDTHS.items():
        for i in range(len(widths) - DISCRIMINATOR_FLAT_BLOCKS[size]):
            yield "down", size // 2**i, widths[i], widths[i]


def _loop_conv3x3(inputs, kernel):
    """Zero-padded 3x3 convolution (a correlation, as the field has it)."""
    batch, height, width, _ = inputs.shape
    outputs = np.zeros((batch, height, width, kernel.shape[-1]))
    for b, y, x, i, j in np.ndindex(batch, height, width, 3, 3):
        row, column = y + i - 1, x + j - 1
        if 0 <= row < height and 0 <= column < width:
            outputs[b, y, x] += inputs[b, row, column] @ kernel[i, j]
    return outputs


def _repeat(inputs):
    return np.repeat(np.repeat(inputs, 2, axis=1), 2, axis=2)


def _mean_of_four(inputs):
    height, width = (size // 2 * 2 for size in inputs.shape[1:3])
    inputs = inputs[:, :height, :width]
    return sum(inputs[:, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4.0


def _plain(inputs, kernel, resample):
    if resample == "up":
        inputs = upsample(inputs)
    outputs = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
    return downsample(outputs) if resample == "down" else outputs


def _fused(inputs, kernel, resample):
    function = upsample_conv if resample == "up" else conv_downsample
    return function(inputs, kernel)


def _results(function, inputs, kernel, resample):
    """Values and the gradients of a fixed random sum of the outputs."""
    with tf.GradientTape() as tape:
        tape.watch((inputs, kernel))
        outputs = function(inputs, kernel, resample)
        direction = tf.random.stateless_normal(tf.shape(outputs), [7, 7])
        direction = tf.cast(direction, outputs.dtype)
    gradients = tape.gradient(outputs, (inputs, kernel), direction)
    return outputs, *gradients


def _draw(height, width, c_in, c_out, batch=2, dtype="float32"):
    inputs = tf.random.stateless_normal([batch, height, width, c_in], [1, 2])
    kernel = tf.random.stateless_normal([3, 3, c_in, c_out], [3, 4])
    return tf.cast(inputs, dtype), kernel


def _assert_fused_equals_plain(inputs, kernel, resample):
    fused = _results(_fused, inputs, kernel, resample)
    # In float64, so that all of the difference is the fused form's.
    exact = _results(
        _plain,
        tf.cast(inputs, tf.float64),
        tf.cast(kernel, tf.float64),
        resample,
    )
    positions = np.prod(exact[0].shape[:3])
    terms = (9 * kernel.shape[2], 9 * kernel.shape[3], 4 * positions)
    for value, expected, n in zip(fused, exact, terms, strict=True):
        assert value.shape == expected.shape
        scale = max(1.0, np.sqrt(np.mean(expected.numpy() ** 2)))
        bound = ROUNDING[inputs.dtype.name] * (8 + 4 * np.sqrt(n)) * scale
        error = np.abs(tf.cast(value, tf.float64) - expected).max(initial=0)
        assert error <= bound, (error, bound)
    assert fused[0].dtype == inputs.dtype == fused[1].dtype
    assert fused[2].dtype == tf.float32  # The kernel is cast within.


@pytest.mark.parametrize(
    ("resample", "size"),
    [*(("up", s) for s in UP_SIZES), *(("down", s) for s in DOWN_SIZES)],
    ids=str,
)
def test_fused_equals_plain(resample, size):
    _assert_fused_equals_plain(*_draw(*size, 3, 5), resample)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1)], ids=str)
def test_pooling_a_single_row_leaves_nothing(size):
    inputs, kernel = _draw(*size, 3, 5)
    outputs, *gradients = _results(_fused, inputs, kernel, "down")
    assert outputs.shape == (2, size[0] // 2, size[1] // 2, 5)
    for gradient, source in zip(gradients, (inputs, kernel), strict=True):
        np.testing.assert_array_equal(gradient, tf.zeros_like(source))


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("stage", sorted(set(_stages())), ids=str)
def test_fused_equals_plain_at_every_stage_of_the_networks(stage, dtype):
    resample, size, c_in, c_out = stage
    drawn = _draw(size, size, c_in, c_out, batch=1, dtype=dtype)
    _assert_fused_equals_plain(*drawn, resample)


@pytest.mark.parametrize("resample", ["up", "down"])
@pytest.mark.parametrize("fused", [True, False])
def test_spatial_sizes_may_be_unknown(resample, fused):
    layer = Conv3x3(3, resample=resample, fused=fused)
    layer.build((None, None, None, 2))
    call = tf.function(
        layer, input_signature=[tf.TensorSpec([None, None, None, 2])]
    )
    for size in ((4, 4), (2, 6), (5, 3), (1, 1), (1, 4)):
        inputs, _ = _draw(*size, 2, 3)
        np.testing.assert_allclose(call(inputs), layer(inputs), atol=1e-5)


@pytest.mark.parametrize("resample", [None, "up", "down"])
@pytest.mark.parametrize("size", [(4, 4), (3, 6), (5, 5)], ids=str)
def test_the_layer_equals_a_loop_in_both_forms(resample, size):
    inputs, kernel = _draw(*size, 3, 4)
    bias = np.array([1.0, -2.0, 0.5, 3.0])
    expected = np.float64(inputs)
    if resample == "up":
        expected = _repeat(expected)
    expected = _loop_conv3x3(expected, np.float64(kernel))
    if resample == "down":
        expected = _mean_of_four(expected)
    for fused in (True, False):
        layer = Conv3x3(4, resample=resample, fused=fused, spectral_norm=False)
        layer.build(inputs.shape)
        layer.kernel.assign(kernel)
        layer.bias.assign(bias)
        np.testing.assert_allclose(layer(inputs), expected + bias, atol=2e-5)


@pytest.mark.parametrize("resample", ["up", "down"])
def test_both_forms_share_their_weights_and_spectral_norm(resample):
    fused = Conv3x3(4, resample=resample)
    plain = Conv3x3(4, resample=resample, fused=False)
    inputs, kernel = _draw(4, 4, 3, 4)
    fused.build(inputs.shape)
    plain.build(inputs.shape)
    fused.kernel.assign(kernel)
    plain.set_weights(fused.get_weights())
    for training in (True, False):
        np.testing.assert_allclose(
            fused(inputs, training=training),
            plain(inputs, training=training),
            atol=1e-5,
        )
        np.testing.assert_array_equal(fused.u, plain.u)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_upsample_and_its_gradient_are_those_of_repeat(dtype):
    inputs, _ = _draw(3, 5, 2, 1, dtype=dtype)
    direction = tf.random.stateless_normal([2, 6, 10, 2], [5, 6])
    direction = tf.cast(direction, dtype)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = upsample(inputs)
    gradient = tape.gradient(outputs, inputs, direction)
    np.testing.assert_array_equal(outputs, _repeat(inputs))
    assert gradient.dtype == dtype
    direction = np.float64(direction)
    error = np.abs(np.float64(gradient) - 4.0 * _mean_of_four(direction))
    magnitude = 4.0 * _mean_of_four(np.abs(direction))
    assert (error <= 4 * ROUNDING[dtype] * magnitude).all()


def test_downsample_is_the_mean_of_four_and_drops_an_odd_edge():
    inputs, _ = _draw(5, 7, 2, 1)
    expected = _mean_of_four(inputs.numpy())
    assert expected.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(downsample(inputs), expected, atol=1e-6)
    np.testing.assert_array_equal(downsample(upsample(inputs)), inputs)


def test_an_unknown_resample_is_an_error():
    with pytest.raises(ValueError, match="'sideways'.*'up' or 'down'"):
        Conv3x3(3, resample="sideways")
