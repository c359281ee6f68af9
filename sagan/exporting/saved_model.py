"""TensorFlow's SavedModel: a folder for TensorFlow Serving."""

import os

import numpy as np
import tensorflow as tf

from sagan.config.paths import plain_path
from sagan.exporting.program import Program

_SIGNATURE = "serving_default"


def write_saved_model(program: Program, path, precision="float32") -> None:
    """Writes a SavedModel with the signature "serving_default".

    It is made of a module that holds the variables alone. With the network as
    an attribute, Keras would trace the network by itself, without labels.
    """
    del precision  # There is no other.
    function = program.function()
    concrete = function.get_concrete_function()
    module = tf.Module()
    module.function = function
    module.held = list(concrete.graph.variables)
    tf.saved_model.save(module, os.fspath(path), {_SIGNATURE: concrete})


def load_saved_model(path, threads: int):
    """Returns the signature as a function of arrays by name."""
    del threads  # Those of this process's TensorFlow.
    with plain_path(path) as plain:
        model = tf.saved_model.load(str(plain))

    def call(inputs):
        tensors = {name: tf.constant(x) for name, x in inputs.items()}
        outputs = model.signatures[_SIGNATURE](**tensors)
        return {name: np.asarray(x) for name, x in outputs.items()}

    return call
