"""Every implementation is the same function of the same weights."""

import collections
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from refusals import assert_refused

from sagan.layers.numerics.deviations import ROUNDING
from sagan.layers.pointwise import CONTROLS, IMPLEMENTATIONS, Pointwise

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


@pytest.mark.parametrize("written_with", sorted(IMPLEMENTATIONS))
def test_every_implementation_reads_what_another_wrote(written_with, tmp_path):
    inputs = tf.random.stateless_normal([2, 3, 4, 6], [0, 1])
    writer = Pointwise(5, written_with)
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
        for one, other in zip(reader.weights, writer.weights, strict=True):
            np.testing.assert_array_equal(one, other)
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
    outputs = layer(inputs).numpy()
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


@pytest.mark.parametrize("control", sorted(CONTROLS))
def test_a_control_has_gradients(control):
    layer = Pointwise(4, control)
    inputs = tf.random.stateless_normal([2, 3, 2, 8], [0, 1])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(inputs) ** 2)
    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.any(gradient)


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
    """docs/pointwise.md: 56 and 8 parameters, 4x4 and 6x6 outputs."""
    image = tf.random.stateless_normal([1, 6, 6, 3], [0, 1])
    wide = keras.layers.Conv2D(2, 3)
    assert wide(image).shape == (1, 4, 4, 2)
    assert wide.count_params() == 56

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


def test_on_one_channel_a_filter_is_a_scalar():
    layer = Pointwise(1, use_bias=False, spectral_norm=False)
    image = tf.random.stateless_normal([2, 5, 4, 1], [0, 1])
    outputs = layer(image)
    np.testing.assert_allclose(outputs, image * layer.kernel[0, 0, 0, 0])


@each_implementation
def test_positions_do_not_mix(implementation):
    layer = Pointwise(3, implementation)
    image = tf.random.stateless_normal([1, 4, 5, 2], [0, 1]).numpy()
    before = layer(image).numpy()
    image[0, 2, 3] += 1.0
    moved = np.any(layer(image).numpy() != before, axis=-1)[0]
    assert np.argwhere(moved).tolist() == [[2, 3]]


WORK = {
    "Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter", "MatMul",
    "BatchMatMulV2", "Einsum", "Transpose", "Sum",
}  # fmt: skip


def _both(implementation):
    def both(inputs, kernel, direction):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = IMPLEMENTATIONS[implementation](inputs, kernel)
        gradients = tape.gradient(outputs, (inputs, kernel), direction)
        return outputs, *gradients

    return both


def lowered(implementation):
    """The operations an implementation becomes, with known shapes."""
    graph = (
        tf.function(_both(implementation))
        .get_concrete_function(
            tf.TensorSpec([4, 16, 16, 64]),
            tf.TensorSpec([1, 1, 64, 8]),
            tf.TensorSpec([4, 16, 16, 8]),
        )
        .graph
    )
    return [op.type for op in graph.get_operations() if op.type in WORK]


@pytest.mark.parametrize(
    ("implementation", "operations"),
    [
        ("conv2d", ["Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"]),
        ("dense", ["MatMul"] * 3),
        ("matmul", ["BatchMatMulV2"] * 3 + ["Sum"] * 2),
        ("gemm", ["MatMul"] * 3),
        ("einsum", ["Einsum"] * 3),
        ("einsum_ellipsis", ["Einsum"] * 3 + ["Sum"] * 2),
        ("tensordot", ["MatMul"] * 3),
        ("batched_einsum", ["Einsum"] * 3),
    ],
)
def test_what_each_becomes_is_as_the_docs_say(implementation, operations):
    assert lowered(implementation) == operations


def test_keras_conv2d_is_the_same_operation():
    layer = keras.layers.Conv2D(8, 1)
    layer.build((4, 16, 16, 64))
    graph = (
        tf.function(layer)
        .get_concrete_function(tf.TensorSpec([4, 16, 16, 64]))
        .graph
    )
    work = [op.type for op in graph.get_operations() if op.type in WORK]
    assert work == ["Conv2D"]


@pytest.mark.parametrize(
    ("implementation", "instructions"),
    [
        ("conv2d", {"dot": 2, "convolution": 1}),
        ("dense", {"dot": 3}),
        ("matmul", {"dot": 3, "reduce": 1}),
        ("gemm", {"dot": 3}),
        ("einsum", {"dot": 3}),
        ("einsum_ellipsis", {"dot": 2, "multiply": 1, "reduce": 1}),
        ("tensordot", {"dot": 3}),
        ("batched_einsum", {"dot": 3}),
    ],
)
def test_what_xla_makes_of_each_is_as_the_docs_say(
    implementation, instructions
):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("XLA makes other instructions for a GPU")
    compiled = tf.function(_both(implementation), jit_compile=True)
    text = compiled.experimental_get_compiler_ir(
        tf.zeros([4, 16, 16, 64]), tf.zeros([1, 1, 64, 8]),
        tf.zeros([4, 16, 16, 8]),
    )(stage="optimized_hlo")  # fmt: skip
    found = collections.Counter(re.findall(r" (\w+)\(", text))
    work = ("dot", "convolution", "multiply", "reduce")
    assert {name: found[name] for name in work if found[name]} == instructions
