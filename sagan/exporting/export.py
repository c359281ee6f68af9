"""Writes an export, proved with the runtime that will use it."""

import importlib.metadata
import json
import os
import pathlib

from sagan.cli import silent_stderr
from sagan.evaluation.classifier import CLASSIFIER_FILE
from sagan.exporting.classifiers import open_classifier
from sagan.exporting.formats import find_format
from sagan.exporting.generators import open_generator
from sagan.exporting.program import Options, Program
from sagan.exporting.proof import compare, time_beside_tensorflow
from sagan.runs.files import explain_write_errors, whole_file
from sagan.runs.record import source_commit


def export_run(
    workdir, bindings, data_dir, format_name: str, out, options: Options
) -> list[str]:
    """Exports the generator of a run, or a classifier.

    Args:
        workdir: Folder of the run, or the one in which `sagan.classifier`
            finished.
        bindings: Override its config, as in `sagan.config.parse_config`.
        data_dir: Folder of TFDS datasets, for a classifier; None for the TFDS
            default.
        format_name: Key of `FORMATS`.
        out: As for `export`.
        options: What to export.

    Returns:
        Lines that say how the export compares with the checkpoint.

    Raises:
        ValueError: If there is nothing to export, or see `export`.
    """
    # Before networks are built.
    find_format(format_name, options.precision, out)
    if (pathlib.Path(workdir) / CLASSIFIER_FILE).is_file():
        program = open_classifier(workdir, bindings, data_dir, options)
    else:
        program = open_generator(workdir, bindings, options)
    return export(program, format_name, out, options.precision)


def export(
    program: Program, format_name: str, out, precision: str = "float32"
) -> list[str]:
    """Writes a network as a file of a runtime, and proves it there.

    Args:
        program: What to export.
        format_name: Key of `FORMATS`.
        out: File to write; for a SavedModel a folder. `OUT.json`, beside it,
            says what it takes and returns, where it comes from, and how it
            compares with the checkpoint.
        precision: What weights are stored in, one of the format's.

    Returns:
        Lines that say how it compares.

    Raises:
        ValueError: If it cannot be written, or differs from the checkpoint by
            more than `TOLERANCES`; then nothing is left behind.
    """
    out = pathlib.Path(out)
    kind = find_format(format_name, precision, out)
    threads = len(os.sched_getaffinity(0))
    # Both are renamed when both are written.
    with (
        explain_write_errors(out.parent),
        whole_file(out.with_name(f"{out.name}.json")) as partial_record,
        whole_file(out) as partial,
        silent_stderr(),
    ):
        kind.write(program, partial, precision)
        call = kind.load(partial, threads)
        record = {
            "format": format_name,
            "precision": precision,
            "megabytes": round(_size(partial) / 1e6, 3),
            "inputs": program.describe(program.examples),
            "outputs": program.describe(program.expected),
            **compare(program, call, precision),
            "milliseconds": {
                **time_beside_tensorflow(program, call),
                "threads": threads,
            },
            "versions": _versions(kind),
            "commit": source_commit(),
            **program.record,
        }
        partial_record.write_text(json.dumps(record, indent=2) + "\n")
    return list(_lines(out, record))


def _versions(kind):
    packages = ("tensorflow", *kind.packages.values())
    return {name: importlib.metadata.version(name) for name in packages}


def _size(path):
    """Returns the bytes of a file, or of those in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _lines(out, record):
    time = record["milliseconds"]
    yield (
        f"{out}: {record['format']}, {record['precision']}, "
        f"{record['megabytes']:.2f} MB"
    )
    for name, values in record["differences"].items():
        yield (
            f"{name}: largest difference {values['largest']:.1e}, mean "
            f"{values['mean']:.1e}, over {record['examples']} examples"
        )
    if "accuracy" in record:
        shares = record["accuracy"]
        yield (
            f"accuracy: {shares['export']:.2%}, of the checkpoint "
            f"{shares['checkpoint']:.2%}"
        )
    yield (
        f"{time['export']:.2f} ms an example, TensorFlow "
        f"{time['tensorflow']:.2f} (batches of {time['batch']}, "
        f"{time['threads']} threads)"
    )
