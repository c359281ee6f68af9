"""What a config binds to make a network: checks, precision, variables."""

import contextlib

import keras

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def _dtype_policy(precision):
    """Makes layers constructed inside follow the policy `precision`."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"Unknown precision {precision!r}: expected one of "
            f"{', '.join(PRECISIONS)}."
        )
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
