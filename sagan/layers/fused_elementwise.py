"""Elementwise operations in one pass over memory, compiled by XLA.

On a CPU, TensorFlow reads and writes all numbers once for each of them, which
takes as long as the convolutions where those are fast.
"""

import contextlib
import contextvars

import tensorflow as tf

from sagan.layers.affine import sum_like
from sagan.layers.conv import downsample
from sagan.layers.device import on_cpu

# Below, starting a compiled function takes as long as the passes it saves.
_FEWEST_NUMBERS = 2**17
_allowed = contextvars.ContextVar("allowed", default=False)


@contextlib.contextmanager
def fusing(allowed: bool = True):
    """Allows compiled functions in the graph that is traced inside.

    Updates do. A network that is exported, or called by hand, consists of
    TensorFlow's operations.
    """
    token = _allowed.set(allowed)
    try:
        yield
    finally:
        _allowed.reset(token)


def pays(inputs) -> bool:
    """Returns whether a compiled function may be called, and is faster.

    That is not tried without a graph, where each call would be compiled.
    """
    return (
        _allowed.get()
        and not tf.executing_eagerly()
        and inputs.shape.is_fully_defined()
        and inputs.shape.num_elements() >= _FEWEST_NUMBERS
        and on_cpu()
    )


def affine_relu(inputs, gain, bias):
    """Returns `relu(inputs * gain + bias)`, rounded once.

    Args:
        inputs: `[batch, height, width, channels]`, float.
        gain: Broadcasts to `inputs`, float32; None for 1.
        bias: Likewise.
    """

    def forward(inputs, *parameters):
        values = tf.cast(inputs, tf.float32)
        *gain, bias = parameters
        for factor in gain:
            values *= factor
        return tf.cast(tf.maximum(values + bias, 0.0), inputs.dtype)

    def gradients(outputs, gradient, inputs, *gain):
        """Of the inputs; and with a gain, to be summed, of gain and bias."""
        kept = tf.where(outputs > 0, tf.cast(gradient, tf.float32), 0.0)
        d_inputs, terms = kept, []
        for factor in gain:
            d_inputs *= factor
            terms = [kept * tf.cast(inputs, tf.float32), kept]
        # float16 has not the range for products of loss-scaled gradients.
        if inputs.dtype == tf.bfloat16:
            terms = [tf.cast(term, tf.bfloat16) for term in terms]
        return tf.cast(d_inputs, inputs.dtype), *terms

    @tf.custom_gradient
    def run(inputs, *parameters):
        outputs = _compiled(forward)(*_constants(inputs, *parameters))

        def backward(gradient):
            with tf.name_scope("relu"):
                d_inputs, *terms = _compiled(gradients)(
                    outputs, gradient, inputs, *parameters[:-1]
                )
                terms = terms or [d_inputs]  # That of a bias alone.
                return d_inputs, *map(sum_like, terms, parameters)

        return outputs, backward

    parameters = [p for p in (gain, bias) if p is not None]
    with tf.name_scope("relu"):
        return run(inputs, *parameters)


def add_upsampled(inputs, residual):
    """Returns `inputs + upsample(residual)`.

    Args:
        inputs: `[batch, 2 * height, 2 * width, channels]`, float.
        residual: `[batch, height, width, channels]`, in the same dtype.
    """

    def forward(inputs, residual):
        batch, height, width, channels = residual.shape
        pairs = [batch, height, 2, width, 2, channels]
        residual = tf.broadcast_to(residual[:, :, None, :, None], pairs)
        return inputs + tf.reshape(residual, inputs.shape)

    @tf.custom_gradient
    def run(inputs, residual):
        def backward(gradient):
            with tf.name_scope("upsample"):
                return gradient, 4.0 * downsample(gradient)

        return _compiled(forward)(*_constants(inputs, residual)), backward

    with tf.name_scope("upsample"):
        return run(inputs, residual)


def _compiled(function):
    return tf.function(function, autograph=False, jit_compile=True)


def _constants(*operands):
    """Hides operands from gradient tapes, which would keep every pass."""
    return map(tf.stop_gradient, operands)
