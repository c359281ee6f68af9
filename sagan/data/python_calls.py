"""Python functions in a tf.data pipeline, and an exit that waits for them.

A thread of tf.data that is about to call into Python while the interpreter
shuts down is ended without notice, and whoever frees its iterator then waits
for ever. So at exit the calls fail at once, which fills the pipeline's
buffers, and the exit goes on when no thread has called for a while.
"""

import atexit
import threading
import time

import tensorflow as tf

_QUIET_SECONDS = 0.1


def call_python(function, inputs, types):
    """Calls a function of NumPy arrays from within a tf.data pipeline.

    Args:
        function: Takes NumPy arrays, returns NumPy arrays; has no state.
        inputs: Tensors it is given.
        types: Dtypes of what it returns.

    Returns:
        Tensors of these dtypes, their shapes unknown.
    """

    def call(*arrays):
        with _CALLS:
            return function(*arrays)

    return tf.numpy_function(call, inputs, types, stateful=False)


class _Calls:
    """Counts the calls that have begun and those that have ended."""

    def __init__(self):
        self.lock = threading.Lock()
        self.begun = self.ended = 0
        self.closing = False

    def __enter__(self):
        with self.lock:
            self.begun += 1
            if not self.closing:
                return
            self.ended += 1
        raise RuntimeError("Python is shutting down.")

    def __exit__(self, *exception):
        with self.lock:
            self.ended += 1

    def close(self):
        self.closing = True
        begun = -1
        while begun != self.begun or self.begun != self.ended:
            begun = self.begun
            time.sleep(_QUIET_SECONDS)


_CALLS = _Calls()
atexit.register(_CALLS.close)
