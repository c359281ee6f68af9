"""The file formats: what writes them, what runs them, what they are for."""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Callable, Mapping

from sagan.exporting.litert import load_litert, write_litert
from sagan.exporting.onnx import load_onnx, write_onnx
from sagan.exporting.saved_model import load_saved_model, write_saved_model
from sagan.runs.files import check_writable

PRECISIONS = ("float32", "float16", "int8")


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: File name suffix; empty for folders.
        packages: Packages that write and run it, by the module they bring.
        precisions: What it can store weights in.
        write: Function from a `Program`, a path and a precision.
        load: Function from a path and a number of threads to a function of
            arrays by name.
    """

    suffix: str
    packages: Mapping[str, str]
    precisions: tuple[str, ...]
    write: Callable
    load: Callable


FORMATS = {
    "savedmodel": Format(
        "", {}, ("float32",), write_saved_model, load_saved_model
    ),
    "litert": Format(
        ".tflite",
        {"ai_edge_litert": "ai-edge-litert"},
        PRECISIONS,
        write_litert,
        load_litert,
    ),
    "onnx": Format(
        ".onnx",
        {
            "onnx": "onnx",
            "onnxruntime": "onnxruntime",
            "tf2onnx": "tf2onnx",
        },
        PRECISIONS,
        write_onnx,
        load_onnx,
    ),
}


def find_format(name: str, precision: str, out) -> Format:
    """Returns a format that can be written to a path.

    Raises:
        ValueError: If a package is missing, the format has no such precision,
            or `out` is no name for its files.
    """
    kind = FORMATS[name]
    missing = [
        package
        for module, package in kind.packages.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise ValueError(
            f"--format={name} needs {', '.join(missing)}: "
            "pip install -e '.[export]'"
        )
    if precision not in kind.precisions:
        raise ValueError(
            f"--precision={precision} does not go with --format={name}: "
            f"expected {' or '.join(kind.precisions)}."
        )
    _check_path(kind, name, pathlib.Path(out))
    return kind


def _check_path(kind, name, out):
    check_writable(out.parent, "--out")
    if not out.name:
        raise ValueError(
            f"--out={out} is this very folder: give a name in it, such as "
            f"--out=export{kind.suffix}."
        )
    record = out.with_name(f"{out.name}.json")
    if record.is_dir():
        raise ValueError(
            f"--out={out}: the file beside it, {record}, would replace a "
            "folder. Give another name."
        )
    if kind.suffix and (out.suffix != kind.suffix or out.is_dir()):
        raise ValueError(
            f"--out={out} must be the name of a {kind.suffix} file for "
            f"--format={name}."
        )
    if kind.suffix or not os.path.lexists(out):
        return
    # An older export may be replaced, nothing else.
    if not (out / "saved_model.pb").is_file():
        raise ValueError(
            f"--out={out} exists, and is no SavedModel to be replaced: give "
            "the name of a new folder."
        )
