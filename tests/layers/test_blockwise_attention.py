"""Attention in blocks of queries equals attention with the whole map."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers.attention import SelfAttention
from sagan.layers.blockwise_attention import attend_in_blocks, default_block
from sagan.layers.numerics.deviations import ROUNDING
from sagan.profiling.memory import peak_growth

QUERIES = 35


@pytest.fixture(scope="module")
def operands():
    """Keys, queries, values, and the direction of the gradients."""
    sizes = (12, 4), (QUERIES, 4), (12, 6), (QUERIES, 6)
    return [
        tf.random.stateless_normal([2, *size], [0, i])
        for i, size in enumerate(sizes)
    ]


def plain(keys, queries, values):
    attention = tf.nn.softmax(tf.matmul(queries, keys, transpose_b=True))
    return tf.matmul(attention, values)


def with_gradients(attend, keys, queries, values, direction):
    with tf.GradientTape() as tape:
        tape.watch((keys, queries, values))
        outputs = attend(keys, queries, values)
    gradients = tape.gradient(outputs, (keys, queries, values), direction)
    return outputs, *gradients


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(
    ("block", "mode"),
    [(8, "eager"), (8, "jit"), *((n, "function") for n in (1, 8, QUERIES, 64))],
)
def test_outputs_and_gradients_equal_those_of_the_whole_map(
    operands, dtype, block, mode
):
    operands = [tf.cast(x, dtype) for x in operands]

    def run(*operands):
        return with_gradients(lambda *x: attend_in_blocks(*x, block), *operands)

    if mode != "eager":
        run = tf.function(run, jit_compile=mode == "jit")
    exact = [tf.cast(x, tf.float64) for x in operands]
    for actual, expected in zip(
        run(*operands), with_gradients(plain, *exact), strict=True
    ):
        assert actual.dtype == dtype
        assert actual.shape == expected.shape
        # Some roundings of the operands, of the map and of the sums.
        bound = 6 * ROUNDING[dtype] * np.abs(expected).max()
        np.testing.assert_allclose(
            tf.cast(actual, tf.float64), expected, atol=bound
        )


def test_the_number_of_images_may_be_unknown(operands):
    operands = operands[:3]
    run = tf.function(
        lambda *arguments: attend_in_blocks(*arguments, 8),
        input_signature=[tf.TensorSpec([None, *x.shape[1:]]) for x in operands],
    )
    for batch in (1, 2):
        parts = [tensor[:batch] for tensor in operands]
        np.testing.assert_allclose(run(*parts), plain(*parts), atol=1e-6)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_layer_is_the_same_with_blocks(variant, dtype):
    inputs = tf.random.stateless_normal([2, 6, 7, 16], [0, 1])
    layer = SelfAttention(variant, dtype=dtype)
    layer.build(inputs.shape)
    layer.gamma.assign(0.7)
    results = []
    for layer.query_block in (0, 10):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        sources = (inputs, *layer.trainable_variables)
        results.append((outputs, *tape.gradient(loss, sources)))
    rounding = ROUNDING[layer.compute_dtype]
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
    layer = SelfAttention("paper")
    layer.build(inputs.shape)
    growth = []
    for layer.query_block in (0, None):

        @tf.function
        def run():
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
