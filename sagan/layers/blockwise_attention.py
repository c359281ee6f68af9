"""Attention by blocks of queries, without the whole map in memory.

Each row of the map is the softmax of one query, so rows can be computed, used
and dropped in any order. The gradient recomputes them.
"""

import tensorflow as tf

# Largest map of one image, in bytes, that is not split into blocks, and the
# size of a block. On a CPU, blocks of this size are faster than the whole map.
_MAP_BYTES = 4 * 2**20


def default_block(queries: int, keys: int) -> int:
    """Returns the default number of queries per block; 0 for a small map.

    Args:
        queries: Rows of the map.
        keys: Columns of the map, float32.
    """
    if 4 * queries * keys <= _MAP_BYTES:
        return 0
    return max(1, _MAP_BYTES // (4 * keys))


def attend_in_blocks(keys, queries, values, block: int):
    """Returns `softmax(queries keys^T) values`.

    Scores have the dtype of keys and queries, the softmax is float32, and the
    product with the values has their dtype.

    Args:
        keys: `[batch, m, channels]`, float.
        queries: `[batch, n, channels]`, float.
        values: `[batch, m, width]`, float.
        block: Queries per block; need not divide `n`.

    Returns:
        `[batch, n, width]`, in the dtype of `values`.

    Source: Rabe and Staats (2021), arXiv:2112.05682, section 2, but with all
    keys at once.
    """
    count = tf.shape(queries)[1]
    outputs = _attend(keys, _split(queries, block), values)
    return _join(outputs)[:, :count]


@tf.custom_gradient
def _attend(keys, blocks, values):
    """Attends with blocks of queries, `[count, batch, block, channels]`."""

    def attend(queries):
        attention = attention_map(keys, queries)
        return tf.matmul(tf.cast(attention, values.dtype), values)

    outputs = tf.map_fn(
        attend,
        blocks,
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec(
            [*blocks.shape[1:3], values.shape[-1]], values.dtype
        ),
    )

    def backward(gradient):
        with tf.name_scope("query_blocks"):
            return _backward(keys, blocks, values, gradient)

    return outputs, backward


def _backward(keys, blocks, values, gradient):
    """Returns the gradients of keys, blocks of queries and values."""
    count = blocks.shape[0] or tf.shape(blocks)[0]

    def add_block(i, d_keys, d_values, d_blocks):
        queries, d_outputs = blocks[i], gradient[i]
        attention = attention_map(keys, queries)  # [batch, block, m], float32
        d_values += tf.cast(
            tf.matmul(
                tf.cast(attention, values.dtype), d_outputs, transpose_a=True
            ),
            tf.float32,
        )
        d_attention = tf.cast(
            tf.matmul(d_outputs, values, transpose_b=True), tf.float32
        )
        # Softmax is invariant to a shift of all scores.
        mean = tf.reduce_sum(d_attention * attention, -1, keepdims=True)
        d_scores = tf.cast(attention * (d_attention - mean), keys.dtype)
        d_keys += tf.cast(
            tf.matmul(d_scores, queries, transpose_a=True), tf.float32
        )
        d_blocks = d_blocks.write(i, tf.matmul(d_scores, keys))
        return i + 1, d_keys, d_values, d_blocks

    _, d_keys, d_values, d_blocks = tf.while_loop(
        lambda i, *_: i < count,
        add_block,
        (
            0,
            tf.zeros_like(keys, tf.float32),
            tf.zeros_like(values, tf.float32),
            tf.TensorArray(keys.dtype, count, element_shape=blocks.shape[1:]),
        ),
        parallel_iterations=1,
        maximum_iterations=count,
    )
    return (
        tf.cast(d_keys, keys.dtype),
        d_blocks.stack(),
        tf.cast(d_values, values.dtype),
    )


def attention_map(keys, queries):
    """Returns the softmax of the scores, `[batch, n, m]`, float32.

    Args:
        keys: `[batch, m, channels]`, float.
        queries: `[batch, n, channels]`, float.
    """
    scores = tf.matmul(queries, keys, transpose_b=True)
    return tf.nn.softmax(tf.cast(scores, tf.float32))


def _split(queries, block):
    """Splits `[batch, n, channels]` to `[count, batch, block, channels]`."""
    batch, positions = queries.shape[0], tf.shape(queries)[1]
    padding = -positions % block
    queries = tf.pad(queries, [[0, 0], [0, padding], [0, 0]])
    batch = tf.shape(queries)[0] if batch is None else batch
    queries = tf.reshape(queries, [batch, -1, block, queries.shape[-1]])
    return tf.transpose(queries, [1, 0, 2, 3])


def _join(blocks):
    """Joins `[count, batch, block, c]` to `[batch, count * block, c]`."""
    shape = tf.shape(blocks)
    outputs = tf.transpose(blocks, [1, 0, 2, 3])
    return tf.reshape(
        outputs, [shape[1], shape[0] * shape[2], blocks.shape[-1]]
    )
