"""Mixed precision: the dtype policy that layers are constructed under."""

import contextlib
from typing import Literal, get_args

import keras

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]
PRECISIONS = get_args(Precision)


@contextlib.contextmanager
def dtype_policy(precision: Precision):
    """Context in which constructed layers follow the policy `precision`."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


@contextlib.contextmanager
def in_float32(network: keras.Model):
    """Context in which a built network computes in float32.

    Whatever its dtype policy; its weights are float32 in any case.
    """
    with with_policies(dict.fromkeys(layer_policies(network), "float32")):
        yield


def layer_policies(layer) -> dict[keras.layers.Layer, object]:
    """Returns the dtype policy of a layer and of each layer in it."""
    # Keras has no public walk.
    return {part: part.dtype_policy for part in layer._flatten_layers()}


@contextlib.contextmanager
def with_policies(policies):
    """Context in which built layers have other dtype policies.

    Args:
        policies: Policy by layer.
    """
    previous = {layer: layer.dtype_policy for layer in policies}
    try:
        for layer, policy in policies.items():
            layer.dtype_policy = policy
        yield
    finally:
        for layer, policy in previous.items():
            layer.dtype_policy = policy
