"""ONNX: a file for onnxruntime, in browsers too."""

import os

import numpy as np

from sagan.exporting.program import Program, in_batches

_OPSET = 18
# Prefix of the name of a stored weight.
_STORED = "float16_"


def write_onnx(program: Program, path, precision: str) -> None:
    """Writes an .onnx file.

    Args:
        program: What to export.
        path: File to write.
        precision: "float32"; "float16" stores weights so, and converts them
            when the file is loaded; "int8" also computes convolutions and
            products in integers of 8 bits, whose ranges are those of the
            program's calibration inputs.
    """
    import onnx
    import tf2onnx

    function = program.function()
    model, _ = tf2onnx.convert.from_function(
        function, function.input_signature, opset=_OPSET
    )
    for port in (*model.graph.input, *model.graph.output):
        if program.batch is None:  # The converter numbers it.
            port.type.tensor_type.shape.dim[0].dim_param = "batch"
    if precision == "float16":
        _store_in_float16(model.graph)
    if precision == "int8":
        _quantize(model, path, program)
    else:
        onnx.save(model, os.fspath(path))


def _quantize(model, path, program):
    """Writes a model with weights and activations of 8 bits."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        batches = in_batches(program.calibration, program.batch or 1)

        def get_next(self):
            return next(self.batches, None)

    quantization.quantize_static(
        model,
        os.fspath(path),
        Reader(),
        per_channel=True,
        # The rest is cheap, and the tables of batch norm must stay exact.
        op_types_to_quantize=["Conv", "ConvTranspose", "MatMul"],
    )


def _store_in_float16(graph):
    """Rounds the weights; vectors, which take no room, stay as they are."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weights in graph.initializer:
        if weights.data_type != TensorProto.FLOAT or len(weights.dims) < 2:
            continue
        name = weights.name
        half = numpy_helper.to_array(weights).astype(np.float16)
        weights.CopyFrom(numpy_helper.from_array(half, _STORED + name))
        casts.append(
            helper.make_node(
                "Cast", [_STORED + name], [name], to=TensorProto.FLOAT
            )
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def load_onnx(path, threads: int):
    """Returns the model as a function of arrays by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        os.fspath(path), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(
        zip(names, session.run(names, inputs), strict=True)
    )
