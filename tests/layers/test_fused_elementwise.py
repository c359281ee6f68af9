"""ReLU and what comes with it in one pass, against several passes."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers import fused_elementwise
from sagan.layers.elementwise import Elementwise
from sagan.layers.fused_elementwise import fusing

SEVERAL = Elementwise(fused=False)
# Of numbers, and of sums, which are over 300 positions.
TOLERANCES = {"float32": 1e-5, "bfloat16": 2e-2, "float16": 3e-3}
SHAPE = (4, 30, 10, 6)


@pytest.fixture
def one(monkeypatch):
    """What a network calls, where one pass always pays."""
    monkeypatch.setattr(fused_elementwise, "_FEWEST_NUMBERS", 1)
    monkeypatch.setattr(fused_elementwise, "on_cpu", lambda: True)
    with fusing():
        yield Elementwise()


def draw(dtype, *shapes):
    generator = tf.random.Generator.from_seed(0)
    inputs, *parameters = (generator.normal(shape) for shape in shapes)
    return tf.cast(inputs, dtype), *parameters


def gradients(function, *operands):
    """Outputs and gradients, in a graph."""

    @tf.function(autograph=False)
    def run(*operands):
        with tf.GradientTape() as tape:
            tape.watch(operands)
            outputs = function(*operands)
        direction = tf.random.stateless_uniform(outputs.shape, [3, 4])
        direction = tf.cast(direction, outputs.dtype)
        return outputs, *tape.gradient(outputs, operands, direction)

    return run(*operands)


def check_equal(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        one, other = np.float64(one), np.float64(other)
        atol = tolerance * np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=atol)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES.items())
@pytest.mark.parametrize("parameter", [(4, 1, 1, 6), (6,)])
def test_values_and_gradients_of_affine_relu(one, parameter, dtype, tolerance):
    """Against float64, to the rounding of the dtype."""
    operands = draw(dtype, SHAPE, parameter, parameter)
    found = gradients(one.affine_relu, *operands)
    wide = [tf.cast(operand, tf.float64) for operand in operands]

    def definition(inputs, gain, bias):
        return tf.nn.relu(inputs * gain + bias)

    check_equal(found, gradients(definition, *wide), tolerance)
    assert found[0].dtype == found[1].dtype == dtype
    assert found[2].dtype == found[3].dtype == tf.float32


def test_a_bias_alone(one):
    operands = draw("float32", SHAPE, (6,))

    def without_gain(elementwise):
        return lambda inputs, bias: elementwise.affine_relu(inputs, None, bias)

    found = gradients(without_gain(one), *operands)
    check_equal(found, gradients(without_gain(SEVERAL), *operands), 1e-5)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_sum_with_an_upsampled_shortcut(one, dtype):
    """Both round a sum of two numbers once: they are equal."""
    inputs, _ = draw(dtype, SHAPE, (6,))
    residual = tf.cast(tf.random.stateless_normal((4, 15, 5, 6), [5, 6]), dtype)
    found = gradients(one.add_upsampled, inputs, residual)
    expected = gradients(SEVERAL.add_upsampled, inputs, residual)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gradient_penalty_has_the_same_gradients(one):
    """Its gradient passes through the gradient of ReLU."""
    operands = draw("float32", SHAPE, (4, 1, 1, 6), (4, 1, 1, 6))

    def penalty(elementwise):
        @tf.function(autograph=False)
        def run(*operands):
            with tf.GradientTape() as outer:
                outer.watch(operands)
                with tf.GradientTape() as inner:
                    inner.watch(operands[0])
                    outputs = elementwise.affine_relu(*operands)
                    total = tf.reduce_sum(outputs**3)
                gradient = inner.gradient(total, operands[0])
                penalty = tf.reduce_sum(tf.square(gradient))
            return outer.gradient(penalty, operands)

        return run(*operands)

    check_equal(penalty(one), penalty(SEVERAL), 1e-5)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_nan_shows(one, dtype):
    inputs, gain, bias = draw(dtype, SHAPE, (6,), (6,))
    inputs = tf.where(tf.range(6) == 2, tf.constant(-np.nan, dtype), inputs)
    outputs, *_ = gradients(one.affine_relu, inputs, gain, bias)
    np.testing.assert_array_equal(
        tf.math.is_nan(outputs)[..., 2], np.ones(SHAPE[:3], bool)
    )


def test_only_updates_of_a_graph_on_a_cpu_compile(one, monkeypatch):
    """A network that is exported, or run by hand, has TensorFlow's own."""
    large = tf.TensorSpec(SHAPE)

    def compiles(spec):
        function = tf.function(
            lambda x: one.affine_relu(x, None, tf.ones([6])), autograph=False
        ).get_concrete_function(spec)
        return any("Call" in o.type for o in function.graph.get_operations())

    assert compiles(large)
    with fusing(False):
        assert not compiles(large)
    assert not compiles(tf.TensorSpec([None, *SHAPE[1:]]))
    assert not fused_elementwise.pays(tf.ones(SHAPE))  # Outside a graph.
    monkeypatch.setattr(fused_elementwise, "_FEWEST_NUMBERS", 10**6)
    assert not compiles(large)
    monkeypatch.setattr(fused_elementwise, "_FEWEST_NUMBERS", 1)
    monkeypatch.setattr(fused_elementwise, "on_cpu", lambda: False)
    assert not compiles(large)
