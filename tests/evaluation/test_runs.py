"""Scores of a run: in training, and by the command."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sagan.config import parse_config
from sagan.evaluation.best import BEST_FOLDER
from sagan.evaluation.features import open_features
from sagan.evaluation.records import SCORES_FILE, read_records
from sagan.evaluation.runs import find_steps, recorded_tables
from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.logs import read_metrics
from sagan.training.train import train

ROOT = pathlib.Path(__file__).parents[2]
SCORES = {
    "fid", "kid", "kid_std", "precision", "recall", "density", "coverage",
    "is", "is_10", "is_10_std", "intra_fid",
}  # fmt: skip


def test_training_puts_scores_on_record_and_in_its_log(run):
    records = read_records(run)
    assert [r["step"] for r in records] == [1, 2]
    assert records[0].keys() >= SCORES
    assert records[0]["protocol"]["num_samples"] == 120
    assert records[0]["floor"].keys() == SCORES
    logged = {m["step"]: m for m in read_metrics(run)}
    for record in records:
        line = logged[record["step"]]
        assert line["score/fid_ema"] == record["fid"]
        assert line["score/recall_ema"] == record["recall"]


def test_the_best_checkpoint_is_kept(run):
    records = {r["step"]: r for r in read_records(run)}
    best = json.loads((run / BEST_FOLDER / "best.json").read_text())
    assert best["by"] == "fid"
    assert best["value"] == min(r["fid"] for r in records.values())
    assert best["value"] == records[best["step"]]["fid"]
    folder, steps = find_steps(run, "best")
    assert steps == [best["step"]]
    np.testing.assert_equal(
        read_checkpoint(folder, best["step"]),
        read_checkpoint(run / "checkpoints", best["step"]),
    )


@pytest.mark.usefixtures("run_eagerly")
def test_scores_do_not_change_the_run(run, bindings, tmp_path):
    parse_config(["configs/synthetic.gin"], [*bindings, "NUM_STEPS = 2"])
    train(workdir=str(tmp_path))
    np.testing.assert_equal(
        read_checkpoint(tmp_path / "checkpoints"),
        read_checkpoint(run / "checkpoints"),
    )


def test_the_command_scores_checkpoints(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    result = subprocess.run(
        [
            *(sys.executable, "-m", "sagan.evaluate"),
            f"--workdir={run}",
            "--weights=ema,raw",
            "--statistics=moving,standing",
            "--num_samples=130",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][:2] == ["step", "weights"]
    assert [row[:3] for row in rows[1:5]] == [
        ["2", weights, statistics]
        for weights in ("ema", "raw")
        for statistics in ("moving", "standing")
    ]
    assert rows[5][1:3] == ["real", "images"]
    assert "130 samples (labels: uniform) against 200" in result.stdout
    assert (run / SCORES_FILE).read_text().count("\n") == 2 + 4
    records = read_records(run)[2:]
    for record in records:
        assert record["protocol"]["num_samples"] == 130
        assert record["protocol"]["features"] == "coarse"
        assert record["seconds"] >= 0
        assert record["peak_memory_bytes"] > 0
        assert np.isfinite([record[name] for name in SCORES]).all()
    assert len({record["fid"] for record in records}) == 4
    tables = "\n".join(recorded_tables(run))
    for line in result.stdout.splitlines()[1:5]:
        assert line in tables


def test_checkpoints_are_named(run, tmp_path):
    assert find_steps(run, "all")[1] == checkpoint_steps(run / "checkpoints")
    assert find_steps(run, "1")[1] == [1]
    with pytest.raises(ValueError, match="'3': expected all, last, best or on"):
        find_steps(run, "3")
    with pytest.raises(ValueError, match="--step is 'newest'"):
        find_steps(run, "newest")
    with pytest.raises(ValueError, match="has no best checkpoint: train with"):
        find_steps(tmp_path, "best")
    with pytest.raises(ValueError, match="has no scores on record"):
        recorded_tables(tmp_path)
    with pytest.raises(ValueError, match="nowhere does not exist: expected 'c"):
        open_features("nowhere")
