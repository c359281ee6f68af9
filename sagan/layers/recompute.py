"""Layers whose activations are made again in the backward pass."""

import keras
import tensorflow as tf


def call(layer, inputs, *arguments, training=False):
    """Returns `layer(inputs, *arguments, training=training)`."""
    return layer(inputs, *arguments, training=training)


def call_recomputed(layer, inputs, *arguments, training=False):
    """Returns what `call` does, holding only `inputs` for the gradient.

    The gradient runs the layer again, from the weights and the state that it
    had: the same `u`, so the same kernels. What it then does to its state is
    dropped, so `u` and moving averages are written once, as without.

    `tf.recompute_grad` would do, but computes gradients nobody asked for: of
    the discriminator's kernels in a generator update.

    Args:
        layer: A built layer, of which only its variables are trained.
        inputs: `[batch, ...]`, float.
        *arguments: Others that take no gradient, such as labels.
        training: As the layer takes it.

    Source: Chen et al. (2016), arXiv:1604.06174.
    """
    if not layer.weights:
        return call(layer, inputs, *arguments, training=training)
    state = layer.non_trainable_variables

    def run(inputs, values):
        weights = zip(layer.weights, values, strict=True)
        with keras.StatelessScope(weights) as scope:
            outputs = layer(inputs, *arguments, training=training)
        return outputs, [scope.get_current_value(v) for v in state]

    @tf.custom_gradient
    def run_twice(inputs, *values):
        outputs, after = run(inputs, values)

        def backward(gradient, *_):
            again = _after(gradient, inputs)
            with tf.GradientTape() as tape:
                tape.watch((again, values))
                outputs, _ = run(again, values)
            return tape.gradient(
                outputs,
                [again, *values],
                gradient,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )

        return (outputs, *after), backward

    outputs, *after = run_twice(
        inputs, *map(tf.convert_to_tensor, layer.weights)
    )
    if training:
        for variable, value in zip(state, after, strict=True):
            variable.assign(value)
    return outputs


def _after(gradient, inputs):
    """Returns `inputs`, as a value that needs `gradient` to be known.

    Else a graph would make the two runs one. XLA ignores control dependencies
    and folds a product with zero.
    """
    first = tf.reshape(gradient, [-1])[0]
    zero = tf.where(first == first, 0.0, float("nan"))  # noqa: PLR0124
    return inputs + tf.cast(zero, inputs.dtype)
