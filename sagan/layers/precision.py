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
    layers = network._flatten_layers()  # Keras has no public walk.
    policies = [(layer, layer.dtype_policy) for layer in layers]
    try:
        for layer, _ in policies:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy
