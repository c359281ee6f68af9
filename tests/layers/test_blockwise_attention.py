"""Attention in blocks of queries equals attention with the whole map."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.attention import SelfAttention
from sagan.layers.blockwise_attention import attend_in_blocks, default_block
from sagan.layers.numerics.deviations import ROUNDING
from sagan.profiling.memory import peak_growth


def operands(dtype, queries=35, keys=12, channels=4, width=6):
    sizes = (keys, channels), (queries, channels), (keys, width)
    return [
        tf.cast(tf.random.stateless_normal([2, *size], [0, i]), dtype)
        for i, size in enumerate((*sizes, (queries, width)))
    ]


def plain(keys, queries, values):
    scores = tf.matmul(queries, keys, transpose_b=True)
    attention = tf.nn.softmax(tf.cast(scores, tf.float32))
    return tf.matmul(tf.cast(attention, values.dtype), values)


def with_gradients(attend):
    def run(keys, queries, values, direction):
        with tf.GradientTape() as tape:
            tape.watch((keys, queries, values))
            outputs = attend(keys, queries, values)
        gradients = tape.gradient(outputs, (keys, queries, values), direction)
        return outputs, *gradients

    return run


@pytest.mark.parametrize("block", [1, 5, 8, 35, 64])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("mode", ["eager", "function", "jit"])
def test_outputs_and_gradients_equal_those_of_the_whole_map(block, dtype, mode):
    arguments = operands(dtype)
    run = with_gradients(lambda *a: attend_in_blocks(*a, block))
    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "jit")
    exact = [tf.cast(x, tf.float64) for x in arguments]
    expected = with_gradients(
        lambda k, q, v: tf.matmul(
            tf.nn.softmax(tf.matmul(q, k, transpose_b=True)), v
        )
    )(*exact)
    for actual, value in zip(run(*arguments), expected, strict=True):
        assert actual.dtype == dtype
        assert actual.shape == value.shape
        # Some roundings of the operands, of the map and of the sums.
        bound = 6 * ROUNDING[dtype] * np.abs(value).max()
        np.testing.assert_allclose(
            tf.cast(actual, tf.float64), value, atol=bound
        )


def test_the_number_of_images_may_be_unknown():
    keys, queries, values, _ = operands("float32")
    specs = [
        tf.TensorSpec([None, *tensor.shape[1:]])
        for tensor in (keys, queries, values)
    ]
    run = tf.function(
        lambda *arguments: attend_in_blocks(*arguments, 8),
        input_signature=specs,
    )
    for batch in (1, 2):
        parts = [tensor[:batch] for tensor in (keys, queries, values)]
        np.testing.assert_allclose(run(*parts), plain(*parts), atol=1e-6)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_layer_is_the_same_with_blocks(variant, dtype):
    inputs = tf.random.stateless_normal([2, 6, 7, 16], [0, 1])
    whole, blocks = (
        SelfAttention(variant, query_block=block, dtype=dtype)
        for block in (0, 10)
    )
    results = []
    for layer in (whole, blocks):
        layer.build(inputs.shape)
        layer.gamma.assign(0.7)
        for weight, other in zip(layer.weights, whole.weights, strict=True):
            weight.assign(other)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        sources = (inputs, *layer.trainable_variables)
        results.append((outputs, *tape.gradient(loss, sources)))
    rounding = ROUNDING[whole.compute_dtype]
    for one, other in zip(*results, strict=True):
        one, other = (tf.cast(x, tf.float32).numpy() for x in (one, other))
        bound = 50 * rounding * np.abs(one).max()
        np.testing.assert_allclose(one, other, atol=bound)


def test_large_maps_are_made_in_blocks_by_themselves():
    assert default_block(1024, 256) == 0  # 32x32, pooled: 1 MB
    assert default_block(4096, 1024) == 1024  # 64x64: four blocks
    assert default_block(16384, 4096) == 256
    assert default_block(16, 10**8) == 1


def test_memory_does_not_grow_with_the_map():
    inputs = tf.random.stateless_normal([1, 64, 64, 16], [0, 1])
    growth = []
    for block in (0, None):
        layer = SelfAttention("paper", query_block=block)
        layer.build(inputs.shape)

        @tf.function
        def run(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                loss = tf.reduce_sum(layer(inputs) ** 2)
            return tape.gradient(loss, inputs)

        run()
        growth.append(peak_growth(run))
    if None in growth:
        pytest.skip("neither TensorFlow nor this system counts memory")
    whole, blocks = growth
    assert whole > 64 * 2**20  # The map of 4096 x 4096 positions.
    assert blocks < whole / 2
