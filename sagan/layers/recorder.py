"""Records what layers compute while a network is called."""

import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import keras
import tensorflow as tf

from sagan.layers.attention import SelfAttention


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


def self_attentions(network) -> list[SelfAttention]:
    """Returns the attention blocks of a network that have maps."""
    return [x for x in network.attentions if isinstance(x, SelfAttention)]


def has_attention(*networks) -> bool:
    """Whether any of the networks has self-attention."""
    return any(self_attentions(network) for network in networks)


class Attended(NamedTuple):
    """What an attention block computed for a batch.

    Attributes:
        map: Its weights, `[batch, height * width, keys]`, float32, see
            `SelfAttention.attention_map`.
        change: Norm of what the block adds to its input, over that of the
            input, `[batch]`, float32.
    """

    map: tf.Tensor
    change: tf.Tensor


def call_with_attention(network, inputs, labels):
    """Calls a network for inference and records its attention blocks.

    Args:
        network: A `Generator` or a `Discriminator`.
        inputs: Latents or images, as the network takes them.
        labels: `[batch]`, integer.

    Returns:
        What the network returns, and an `Attended` by the name of the block.
    """
    attended = {}

    def record(layer, call, features, **kwargs):
        outputs = call(features, **kwargs)
        before, after = (tf.cast(x, tf.float32) for x in (features, outputs))
        attended[layer.name] = Attended(
            layer.attention_map(features),
            _norm(after - before) / _norm(before),
        )
        return outputs

    with wrapped(self_attentions(network), "call", record):
        outputs = network(inputs, labels, training=False)
    return outputs, attended


def _norm(features):
    """Returns the norm of each example, `[batch]`."""
    return tf.sqrt(tf.reduce_sum(tf.square(features), axis=[1, 2, 3]))
