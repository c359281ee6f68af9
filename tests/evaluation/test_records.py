"""Scores on record, and tables that keep protocols apart."""

import json

import pytest

from sagan.evaluation.records import (
    SCORES_FILE,
    read_records,
    table,
    tables,
    write_record,
)

PROTOCOL = {
    "dataset": "cifar10",
    "num_samples": 100,
    "num_floor": 4,
    "features_sha256": "ab",
}


def record(step=10, **changes):
    return {
        "step": step,
        "weights": "ema",
        "statistics": "moving",
        "fid": 12.345 + step,
        "kid": 0.01,
        "protocol": PROTOCOL,
        "floor": {"fid": 1.5, "kid": 0.0},
    } | changes


def test_records_come_back_with_commit_and_time(tmp_path):
    for step in (10, 20):
        write_record(tmp_path, record(step))
    with (tmp_path / SCORES_FILE).open("a") as file:
        file.write('{"step": 30, "fi')  # The process was killed here.
    write_record(tmp_path, record(40))
    records = read_records(tmp_path)
    assert [r["step"] for r in records] == [10, 20, 40]
    assert records[0]["fid"] == 22.345
    assert len(records[0]["commit"]) >= 40
    assert list((tmp_path / "tensorboard").glob("events*"))
    json.dumps(records)


def test_scores_on_record_are_in_a_table_for_each_protocol():
    known = {
        "num_real": 5, "split": "train", "image_size": 32, "features": "net",
        "resize": "none", "labels": "uniform", "floor_split": "test",
    }  # fmt: skip
    records = [
        record(step, protocol=PROTOCOL | known | {"num_samples": count})
        for step, count in ((10, 100), (10, 500), (20, 100))
    ]
    lines = tables(records)
    assert lines[0].startswith(
        "100 samples (labels: uniform) against 5 of cifar10 (train)"
    )
    assert [line.split()[0] for line in lines[2:4]] == ["10", "20"]
    assert lines[5] == ""
    assert lines[6].startswith("500 samples (labels: uniform) against 5")
    assert len(lines) == 10


def test_a_table_has_a_row_for_each_and_the_floor():
    rows = table([record(10), record(20, weights="raw")])
    assert rows[0].split() == ["step", "weights", "batch", "norm", "fid", "kid"]
    assert rows[1].split() == ["10", "ema", "moving", "22.345", "0.0100"]
    assert rows[2].split() == ["20", "raw", "moving", "32.345", "0.0100"]
    assert rows[3].split() == ["4", "real", "images", "1.500", "0.0000"]


@pytest.mark.parametrize(
    "change", [{"num_samples": 200}, {"features_sha256": "cd"}]
)
def test_two_protocols_do_not_share_a_column(change):
    other = record(20, protocol=PROTOCOL | change)
    (name,) = change
    with pytest.raises(ValueError, match=f"do not compare: {name}: "):
        table([record(10), other])
