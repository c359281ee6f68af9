"""Records of scores: lines of JSON, and tables of comparable ones."""

import datetime
import json
import pathlib

import tensorflow as tf

from sagan.runs.files import append_json, read_json
from sagan.runs.record import source_commit

SCORES_FILE = "scores.jsonl"
# Columns of a table, with their significant digits.
_COLUMNS = {
    "fid": ".3f", "fid_inf": ".3f", "kid": ".4f", "kid_std": ".4f", "is": ".2f",
    "is_10": ".2f", "is_10_std": ".2f", "precision": ".3f", "recall": ".3f",
    "density": ".3f", "coverage": ".3f", "intra_fid": ".3f",
}  # fmt: skip


def write_record(workdir, record: dict[str, object]) -> None:
    """Appends a line to the run's `scores.jsonl`, and points to TensorBoard."""
    workdir = pathlib.Path(workdir)
    record = record | {
        "commit": source_commit(),
        "time": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
    }
    append_json(workdir / SCORES_FILE, record)
    board = tf.summary.create_file_writer(str(workdir / "tensorboard"))
    with board.as_default(record["step"]):
        for name in _COLUMNS.keys() & record.keys():
            mode = f"{record['weights']}_{record['statistics']}"
            tf.summary.scalar(f"evaluation/{name}_{mode}", record[name])
    board.close()


def read_records(workdir) -> list[dict[str, object]]:
    """Returns the records of a run, oldest first; torn lines are skipped."""
    return read_json(pathlib.Path(workdir) / SCORES_FILE)


def table(records: list[dict[str, object]]) -> list[str]:
    """Returns a table of scores, with real images as its last row.

    Raises:
        ValueError: If the protocols of two records differ, naming how.
    """
    first = records[0]
    check_same_protocol(records)
    names = [name for name in _COLUMNS if name in first]
    rows = [("step", "weights", "batch norm", *names)]
    rows += [
        (
            str(record["step"]),
            record["weights"],
            record["statistics"],
            *_cells(record, names),
        )
        for record in records
    ]
    floor = f"{first['protocol']['num_floor']} real images"
    rows.append((floor, "", "", *_cells(first["floor"], names)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
        for row in rows
    ]


def tables(records: list[dict[str, object]]) -> list[str]:
    """Returns a table per protocol, below a line that states it."""
    groups = {}
    for record in records:
        key = json.dumps(record["protocol"], sort_keys=True)
        groups.setdefault(key, []).append(record)
    lines = []
    for group in groups.values():
        lines += [protocol_line(group[0]), *table(group), ""]
    return lines[:-1]


def check_same_protocol(records: list[dict[str, object]]) -> None:
    """Checks that scores are comparable.

    Raises:
        ValueError: If the protocols of two records differ, naming how.
    """
    for record in records[1:]:
        _check_same(records[0]["protocol"], record["protocol"])


def protocol_line(record: dict[str, object]) -> str:
    """Returns the protocol of a record as one line."""
    protocol = record["protocol"]
    data = [protocol["dataset"]]
    if "fingerprint" in protocol:  # Older records went by the name alone.
        data.append(protocol["fingerprint"][:8])
    name = f"protocol {protocol['name']}: " if "name" in protocol else ""
    return (
        f"{name}{protocol['num_samples']} samples "
        f"(labels: {protocol['labels']}) against {protocol['num_real']} of "
        f"{' '.join(data)} ({protocol['split']}), "
        f"{protocol['image_size']} pixels, {protocol['features']} "
        f"{protocol['features_sha256'][:12]}, resize: {protocol['resize']}; "
        f"real images: {protocol['num_floor']} of {protocol['floor_split']}"
    )


def _cells(scores, names):
    return [
        format(scores[name], _COLUMNS[name]) if name in scores else ""
        for name in names
    ]


def _check_same(one, other):
    differing = [
        f"{name}: {one.get(name)!r} and {other.get(name)!r}"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]
    if differing:
        raise ValueError(
            "These scores are of different protocols and do not compare: "
            + "; ".join(differing)
            + ". Score both under one."
        )
