"""LiteRT, formerly TensorFlow Lite: a file for phones and browsers."""

import pathlib
import tempfile

import tensorflow as tf

from sagan.exporting.program import Program, in_batches
from sagan.exporting.saved_model import write_saved_model


def write_litert(program: Program, path, precision: str) -> None:
    """Writes a .tflite file with the signature "serving_default".

    Args:
        program: What to export.
        path: File to write.
        precision: "float32"; "float16" stores weights so and computes in
            float32 on a CPU; "int8" stores and computes in integers of 8 bits,
            whose ranges are those of the program's calibration inputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        # Converting a function directly loses the variables.
        write_saved_model(program, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8":
            size = program.batch or 1
            converter.representative_dataset = lambda: in_batches(
                program.calibration, size
            )
        pathlib.Path(path).write_bytes(converter.convert())


def load_litert(path, threads: int):
    """Returns the signature as a function of arrays by name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    runner = interpreter.get_signature_runner()
    return lambda inputs: runner(**inputs)
