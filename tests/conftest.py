"""What every test gets: TensorFlow as the commands have it, clean globals."""

import gin
import pytest
from absl import flags

from sagan import cli

cli.start_tensorflow()
flags.FLAGS.mark_as_parsed()

# TensorFlow may only be imported from here on.
import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

# Tolerances follow from the dtype, so float32 must be float32 on a GPU too.
tf.config.experimental.enable_tensor_float_32_execution(False)


@pytest.fixture(autouse=True)
def _clean_globals():
    """Seeds each test and undoes its gin bindings and dtype policy."""
    keras.utils.set_random_seed(0)
    yield
    gin.clear_config()
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def run_eagerly():
    """Skips tracing, which takes seconds, where it is not the question."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
