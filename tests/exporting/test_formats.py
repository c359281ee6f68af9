"""Each format: what is written computes the same in its own runtime."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from sagan.exporting import generators
from sagan.exporting.export import export
from sagan.exporting.formats import FORMATS, find_format
from sagan.exporting.program import Program

NAMES = {"savedmodel": "model", "litert": "m.tflite", "onnx": "m.onnx"}


def needs(format_name):
    """Skips a test without the format's runtime."""
    for module in FORMATS[format_name].packages:
        pytest.importorskip(module)


def make_program(batch=None, levels=False):
    """Returns what tells mistakes apart, and NumPy's result of it.

    A table looked up by label, a product with a kernel, and two outputs, one
    of them of integers.
    """
    rng = np.random.default_rng(0)
    kernel, table = (
        rng.normal(size=shape).astype(np.float32)
        for shape in ((64, 12), (3, 12))
    )
    kernel /= 8.0
    variables = tf.Variable(kernel), tf.Variable(table)

    def compute(latents, labels):
        values = tf.tanh(
            tf.matmul(latents, variables[0]) + tf.gather(variables[1], labels)
        )
        outputs = {"values": values, "squares": values**2}
        if levels:
            outputs["levels"] = generators._to_uint8(values)
        return outputs

    def draw(n):
        latents = rng.normal(size=(n, 64)).astype(np.float32)
        return {"latents": latents, "labels": np.arange(n, dtype=np.int32) % 3}

    examples = draw(37)  # No multiple of any batch.
    values = np.tanh(examples["latents"] @ kernel + table[examples["labels"]])
    expected = {"values": values, "squares": values**2}
    if levels:
        expected["levels"] = np.rint((values + 1) * 127.5).astype(np.uint8)
    meanings = dict.fromkeys([*examples, *expected], "numbers")
    record = {"network": "toy", "classes": ["a", "b", "c"]}
    return Program(
        compute, batch, examples, expected, draw(50), meanings, record
    )


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("format_name", FORMATS)
def test_an_export_computes_the_same(tmp_path, format_name, batch):
    needs(format_name)
    program = make_program(batch, levels=True)
    # TensorFlow would take this name for a pattern.
    out = tmp_path / "new[1]" / NAMES[format_name]
    lines = export(program, format_name, out)
    assert "values: largest difference" in "".join(lines)
    call = FORMATS[format_name].load(out, threads=1)
    for size in [batch] if batch else [1, 3, 37]:
        inputs = {k: v[:size] for k, v in program.examples.items()}
        outputs = call(inputs)
        assert outputs.keys() == program.expected.keys()
        for name, expected in program.expected.items():
            assert outputs[name].dtype == expected.dtype
            np.testing.assert_allclose(
                outputs[name].astype(float),
                expected[:size].astype(float),
                atol=1 if name == "levels" else 1e-5,
            )

    record = json.loads((out.parent / f"{out.name}.json").read_text())
    assert record["inputs"]["labels"] == {
        "shape": [batch or "any"],
        "dtype": "int32",
        "values": "numbers",
    }
    assert record["outputs"]["levels"]["shape"] == [batch or "any", 12]
    assert record["classes"] == ["a", "b", "c"]
    assert record["examples"] == 37
    assert record["differences"]["values"]["largest"] < 1e-5
    assert record["milliseconds"]["export"] > 0
    assert {file.name for file in out.parent.iterdir()} == {
        out.name,
        f"{out.name}.json",
    }


@pytest.mark.parametrize("format_name", ["litert", "onnx"])
def test_fewer_bits_are_smaller_and_nearly_the_same(tmp_path, format_name):
    needs(format_name)
    program, files, means = make_program(levels=True), [], []
    for precision in ("float32", "float16", "int8"):
        out = tmp_path / f"{precision}_{NAMES[format_name]}"
        export(program, format_name, out, precision)
        files.append(out.stat().st_size)
        record = json.loads((tmp_path / f"{out.name}.json").read_text())
        means.append(record["differences"]["values"]["mean"])
        # Bytes lose little more than the floats that they round.
        mean = record["differences"]["levels"]["mean"]
        assert mean < 1.5 * 127.5 * means[-1] + 0.1
    # The kernel has 3 kB in float32; the rest is the same but for some names.
    assert files[0] - files[1] > 1000
    assert means[0] < 1e-6 < means[1] < 1e-3 < means[2] < 3e-2


def test_an_export_that_differs_leaves_nothing(tmp_path):
    program = make_program()
    program.expected["values"][36, 5] += 2e-4
    for format_name, name in NAMES.items():
        needs(format_name)
        with pytest.raises(ValueError, match="largest difference of values"):
            export(program, format_name, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", ["savedmodel", "onnx"])
def test_a_record_that_cannot_be_written_leaves_nothing(
    tmp_path, monkeypatch, format_name
):
    needs(format_name)

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sagan.exporting.export.json.dumps", fail)
    with pytest.raises(OSError, match="Make room"):
        export(make_program(), format_name, tmp_path / NAMES[format_name])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{NAMES[format_name]}.json").mkdir()
    with pytest.raises(ValueError, match="would replace a folder"):
        find_format(format_name, "float32", tmp_path / NAMES[format_name])


def test_a_saved_model_replaces_one_and_nothing_else(tmp_path):
    out = tmp_path / "model"
    for batch in (2, 3):
        export(make_program(batch), "savedmodel", out)
    loaded = tf.saved_model.load(str(out)).signatures["serving_default"]
    assert loaded.inputs[0].shape[0] == 3
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="is no SavedModel to be replaced"):
        find_format("savedmodel", "float32", other)
    shutil.rmtree(other)
    other.write_text("")
    with pytest.raises(ValueError, match="is no SavedModel to be replaced"):
        find_format("savedmodel", "float32", other)


def test_what_a_format_cannot_be_is_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="expected float32"):
        find_format("savedmodel", "float16", tmp_path / "model")
    needs("onnx")
    with pytest.raises(ValueError, match=r"must be the name of a \.onnx file"):
        find_format("onnx", "float32", tmp_path / "model.tflite")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="--out=.*file is no folder"):
        find_format("onnx", "float32", tmp_path / "file" / "m.onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs ai-edge-litert: pip install -e '\.\[export\]'"
    ):
        find_format("litert", "float32", tmp_path / "m.tflite")
