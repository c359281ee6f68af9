"""Records the calls of layers while a network is traced."""

import contextlib
import functools
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf


@contextlib.contextmanager
def wrapped(
    layers: Iterable[keras.layers.Layer], method: str, wrapper: Callable
):
    """Wraps a method of some layers while inside; other layers keep theirs.

    Args:
        layers: The layers.
        method: Name of the method, as "call".
        wrapper: Called in its place with the layer, the method and the
            arguments.
    """
    layers = list(layers)
    for layer in layers:
        original = getattr(layer, method)
        vars(layer)[method] = functools.partial(wrapper, layer, original)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)[method]


def trace_network(network, batch_size: int):
    """Returns the concrete function of a network's forward pass.

    Args:
        network: A `Generator` or a `Discriminator`.
        batch_size: Images in the batch.
    """
    if hasattr(network, "latent_dim"):
        shape = [batch_size, network.latent_dim]
    else:
        shape = [batch_size, *network.image_shape]
    return tf.function(
        lambda inputs, labels: network(inputs, labels, training=False),
        autograph=False,
    ).get_concrete_function(
        tf.TensorSpec(shape), tf.TensorSpec([batch_size], tf.int32)
    )
