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
