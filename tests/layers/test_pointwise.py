"""Every implementation is the same function of the same weights."""

import collections
import csv
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from refusals import assert_refused

from sagan.layers.numerics.deviations import ROUNDING
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise

BENCHMARKS = pathlib.Path(__file__).parents[2] / "docs" / "benchmarks"

each_implementation = pytest.mark.parametrize(
    "implementation", sorted(IMPLEMENTATIONS)
)


@each_implementation
@pytest.mark.parametrize("leading", [(), (4,), (2, 3), (2, 1, 3, 2)], ids=str)
def test_any_number_of_leading_axes(implementation, leading):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, *leading, 6)).astype(np.float32)
    layer = Pointwise(5, implementation, activation="relu")
    layer.build(inputs.shape)
    expected = np.maximum(inputs @ layer.effective_kernel()[0, 0].numpy(), 0)
    apply = tf.function(
        layer,
        input_signature=[tf.TensorSpec([*[None] * (len(leading) + 1), 6])],
    )
    for outputs in (layer(inputs), apply(inputs)):
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


@each_implementation
def test_a_bias_is_added_to_every_position(implementation):
    layer = Pointwise(3, implementation, spectral_norm=False)
    layer.build((None, None, None, 2))
    layer.bias.assign([1.0, -2.0, 0.5])
    outputs = layer(tf.zeros([2, 3, 1, 2]))
    expected = np.broadcast_to([1.0, -2.0, 0.5], (2, 3, 1, 3))
    np.testing.assert_array_equal(outputs, expected)
    assert len(Pointwise(3, use_bias=False).weights) == 0
    layer = Pointwise(3, implementation, use_bias=False)
    layer.build((None, None, None, 2))
    assert [weight.name for weight in layer.weights] == ["kernel", "u"]
    assert not np.any(layer(tf.zeros([1, 2, 2, 2])))


def test_auto_is_one_of_them():
    gpu = bool(tf.config.list_physical_devices("GPU"))
    layer = Pointwise(3, "auto")
    assert layer.implementation == ("conv2d" if gpu else "gemm")


@pytest.mark.parametrize("network", ["celeba", "cifar10"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_auto_is_as_fast_as_any_as_measured(network, dtype):
    """Summed over the layers of a network, on a CPU, with gradients."""
    seconds = collections.Counter()
    with (BENCHMARKS / f"pointwise_{network}.csv").open() as file:
        for row in csv.DictReader(file):
            if (row["dtype"], row["pass"]) == (dtype, "both"):
                seconds[row["implementation"]] += float(row["median"])
    assert len(seconds) == len(IMPLEMENTATIONS)
    # `dense`, `gemm` and `tensordot`, which are the same, differ by 4 %.
    assert seconds["gemm"] <= 1.05 * min(seconds.values())


def test_every_implementation_reads_what_another_wrote(tmp_path):
    inputs = tf.random.stateless_normal([2, 3, 4, 6], [0, 1])
    writer = Pointwise(5)
    for _ in range(3):
        writer(inputs, training=True)
    writer.bias.assign(tf.random.stateless_normal([5], [0, 2]))
    path = tf.train.Checkpoint(layer=writer).write(str(tmp_path / "weights"))
    expected = writer(inputs)
    bound = 2.0**-24 * 10 * np.abs(expected).max()
    for implementation in IMPLEMENTATIONS:
        reader = Pointwise(5, implementation)
        reader.build(inputs.shape)
        tf.train.Checkpoint(layer=reader).read(path).assert_consumed()
        np.testing.assert_equal(reader.get_weights(), writer.get_weights())
        np.testing.assert_allclose(reader(inputs), expected, atol=bound)


@pytest.mark.parametrize(
    ("control", "channels", "filters", "groups"),
    [
        ("grouped", 8, 12, 4),
        ("grouped", 6, 4, 2),
        ("grouped", 3, 8, 1),
        ("depthwise", 6, 6, 6),
        ("depthwise", 16, 2, 2),
        ("depthwise", 2, 6, 2),
    ],
)
def test_a_control_is_one_matrix_a_group(control, channels, filters, groups):
    layer = Pointwise(filters, control, spectral_norm=False)
    inputs = tf.random.stateless_normal([2, 3, 2, channels], [0, 1])
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
    gradients = tape.gradient(outputs, layer.trainable_variables)
    assert all(np.any(gradient) for gradient in gradients)
    assert layer.kernel.shape == (1, 1, channels // groups, filters)
    kernel = layer.kernel.numpy()[0, 0]
    parts = zip(
        np.split(inputs.numpy(), groups, -1),
        np.split(kernel, groups, -1),
        strict=True,
    )
    expected = np.concatenate([part @ matrix for part, matrix in parts], -1)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    if groups == channels == filters:  # One scalar a channel.
        np.testing.assert_allclose(outputs, inputs * kernel[0], atol=1e-6)


def test_an_unknown_implementation_is_answered_with_the_choices():
    with pytest.raises(ValueError, match="'conv3d'") as error:
        Pointwise(3, implementation="conv3d")
    for name in IMPLEMENTATIONS:
        assert name in str(error.value)


@each_implementation
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_keeps_the_weights_in_float32(implementation, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    layer = Pointwise(5, implementation)
    inputs = tf.random.stateless_normal([2, 3, 3, 16], [0, 1])
    layer.build(inputs.shape)
    kernel = layer.effective_kernel()[0, 0]
    with tf.GradientTape() as tape:
        outputs = layer(inputs, training=True)
    assert outputs.dtype == dtype
    for variable in (layer.kernel, layer.bias, layer.u):
        assert variable.value.dtype == tf.float32
    gradients = tape.gradient(outputs, layer.trainable_variables)
    assert {gradient.dtype for gradient in gradients} == {tf.float32}
    magnitude = np.abs(inputs) @ np.abs(kernel)
    # Inputs, kernel, output and bias are rounded, besides the 16 sums.
    bound = ROUNDING[dtype] * (4 + 2 * np.sqrt(16)) * magnitude
    error = np.abs(tf.cast(outputs, tf.float32) - inputs @ kernel)
    if not (error <= bound).all():
        assert_refused(implementation, inputs.shape, 5, dtype)


def test_the_example_of_the_docs():
    """docs/pointwise.md: 56 and 8 parameters, ReLU at 16 and 36 positions."""
    image = tf.random.stateless_normal([1, 6, 6, 3], [0, 1])
    wide = keras.layers.Conv2D(2, 3)
    assert wide(image).shape == (1, 4, 4, 2)
    assert wide.count_params() == 56
    for layer, positions in ((wide, 16), (Pointwise(2), 36)):
        assert np.prod(tf.nn.relu(layer(image)).shape[1:3]) == positions

    layer = Pointwise(2, spectral_norm=False)
    outputs = layer(image).numpy()
    assert outputs.shape == (1, 6, 6, 2)
    assert layer.count_params() == 8

    dense = keras.layers.Dense(2)
    dense.build((3,))
    dense.set_weights([layer.kernel[0, 0], layer.bias])
    np.testing.assert_allclose(dense(image), outputs, atol=1e-6)

    # All positions in one axis is right, positions and channels are not.
    flat = tf.reshape(image, [1, -1])
    wrong = keras.layers.Dense(2, use_bias=False)
    assert wrong(flat).shape == (1, 2)
    assert wrong.count_params() == 216


# Operations of outputs and both gradients, and the instructions XLA makes.
WORK = {
    "conv2d": (
        ["Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"],
        {"dot": 2, "convolution": 1},
    ),
    "dense": (["MatMul"] * 3, {"dot": 3}),
    "matmul": (["BatchMatMulV2"] * 3 + ["Sum"] * 2, {"dot": 3, "reduce": 1}),
    "gemm": (["MatMul"] * 3, {"dot": 3}),
    "einsum": (["Einsum"] * 3, {"dot": 3}),
    "einsum_ellipsis": (
        ["Einsum"] * 3 + ["Sum"] * 2,
        {"dot": 2, "multiply": 1, "reduce": 1},
    ),
    "tensordot": (["MatMul"] * 3, {"dot": 3}),
    "batched_einsum": (["Einsum"] * 3, {"dot": 3}),
}
TYPES = {"Transpose", *(name for types, _ in WORK.values() for name in types)}
SHAPES = [4, 16, 16, 64], [1, 1, 64, 8], [4, 16, 16, 8]


def operations(function, *shapes):
    """Returns the operations a function becomes, with known shapes."""
    specs = [tf.TensorSpec(shape) for shape in shapes]
    graph = tf.function(function).get_concrete_function(*specs).graph
    return [op.type for op in graph.get_operations() if op.type in TYPES]


def test_keras_conv2d_is_the_same_operation():
    layer = keras.layers.Conv2D(8, 1)
    layer.build(SHAPES[0])
    assert operations(layer, SHAPES[0]) == ["Conv2D"]


@each_implementation
def test_what_each_becomes_is_as_the_docs_say(implementation):
    def both(inputs, kernel, direction):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = IMPLEMENTATIONS[implementation](inputs, kernel)
        gradients = tape.gradient(outputs, (inputs, kernel), direction)
        return outputs, *gradients

    types, instructions = WORK[implementation]
    assert operations(both, *SHAPES) == types
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("XLA makes other instructions for a GPU")
    compiled = tf.function(both, jit_compile=True)
    text = compiled.experimental_get_compiler_ir(*map(tf.zeros, SHAPES))(
        stage="optimized_hlo"
    )
    found = collections.Counter(re.findall(r" (\w+)\(", text))
    names = ("dot", "convolution", "multiply", "reduce")
    assert {name: found[name] for name in names if found[name]} == instructions
