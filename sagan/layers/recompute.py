"""Recomputation of a layer's activations in the backward pass."""

import keras
import tensorflow as tf

from sagan.layers.precision import layer_policies, with_policies


def call(layer, inputs, *arguments, training=False):
    """Returns `layer(inputs, *arguments, training=training)`."""
    return layer(inputs, *arguments, training=training)


def call_recomputed(layer, inputs, *arguments, training=False):
    """Returns what `call` does, keeping only `inputs` for the gradient.

    The gradient runs the layer again from the same weights and state (the same
    `u`, so the same kernels) and drops the state it returns, so `u` and the
    moving averages are updated once.

    Unlike `tf.recompute_grad`, it computes only the gradients asked for: in a
    generator update, not those of the discriminator's kernels.

    Args:
        layer: A built layer; of its attributes, only variables get gradients.
        inputs: `[batch, ...]`, float.
        *arguments: Further arguments that get no gradient, such as labels.
        training: Passed to the layer.

    Source: Chen et al. (2016), arXiv:1604.06174.
    """
    if not layer.weights:
        return call(layer, inputs, *arguments, training=training)
    state = layer.non_trainable_variables
    # A gradient penalty is float32, and its gradient is taken later.
    policies = layer_policies(layer)

    def run(inputs, values):
        weights = zip(layer.weights, values, strict=True)
        with (
            with_policies(policies),
            keras.StatelessScope(weights, initialize_variables=False) as scope,
        ):
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
    """Returns `inputs` as a value that depends on `gradient`.

    Otherwise a graph would merge the two runs. XLA ignores control dependencies
    and folds a product with zero.
    """
    first = tf.reshape(gradient, [-1])[0]
    zero = tf.where(first == first, 0.0, float("nan"))  # noqa: PLR0124
    return inputs + tf.cast(zero, inputs.dtype)
