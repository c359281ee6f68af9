"""What every test gets: TensorFlow as the commands have it, clean globals."""

import ctypes
import gc

import gin
import pytest
from absl import flags

from sagan import cli

cli.start_tensorflow()
flags.FLAGS.mark_as_parsed()

# TensorFlow may only be imported from here on.
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402
from tensorflow.python.framework.ops import gradient_registry  # noqa: E402

# Tolerances follow from the dtype, so float32 must be float32 on a GPU too.
tf.config.experimental.enable_tensor_float_32_execution(False)


def pytest_collection_finish():
    """Spares the collections of garbage what is here to stay: all imports."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_globals():
    """Seeds each test and undoes its gin bindings and dtype policy."""
    keras.utils.set_random_seed(0)
    yield
    gin.clear_config()
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module", autouse=True)
def _free_memory():
    """Frees the graphs of a module.

    TensorFlow registers a gradient for each use of `tf.custom_gradient` in a
    graph and keeps it for good, with the graph and its networks.
    """
    yield
    registry = gradient_registry._registry
    for name in [n for n in registry if n.startswith("CustomGradient-")]:
        del registry[name]
    gc.collect()
    # Only glibc keeps so much that has been freed.
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)


@pytest.fixture
def run_eagerly():
    """Skips tracing, which takes seconds, where it is not the question."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
