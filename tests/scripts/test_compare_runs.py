"""`scripts/compare_runs.py` names every kind of difference."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from sagan.runs.checkpoints import Checkpoints

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
SAME = {
    "values": {"a": np.float32(1), "b": 0.0},
    "losses": [1.0, 2.0],
    "grid": b"grid",
}


def write(folder, values, losses, grid):
    variables = {name: tf.Variable(value) for name, value in values.items()}
    Checkpoints(folder / "checkpoints", variables).save(2)
    lines = [
        json.dumps({"step": step, "d_loss": loss, "g_loss": 0.0})
        for step, loss in enumerate(losses, start=1)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    (folder / "samples").mkdir(exist_ok=True)
    (folder / "samples/step_2.png").write_bytes(grid)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            {"values": {"a": np.float32(1), "b": np.float32(-0.0)}},
            "variable b",
        ),
        ({"values": {"a": np.float32([1]), "b": 0.0}}, "variable a"),
        ({"values": {"a": np.float32(1)}}, "variable b"),
        ({"losses": [1.0, 2.5]}, "losses of step 2"),
        ({"losses": [1.0]}, "losses of step 2"),
        ({"grid": b"other"}, "grid step_2.png"),
    ],
)
def test_every_difference_is_named(tmp_path, monkeypatch, change, named):
    monkeypatch.syspath_prepend(SCRIPTS)
    from compare_runs import differences

    write(tmp_path / "one", **SAME)
    write(tmp_path / "other", **{**SAME, **change})
    (found,) = differences(tmp_path / "one", tmp_path / "other")
    assert found.startswith(named)


def test_the_same_are_the_same(tmp_path):
    write(tmp_path / "one", {"a": np.float32("nan")}, [None], b"grid")
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    # Where it stopped.
    (tmp_path / "other/samples/step_3.png").write_bytes(b"")
    with (tmp_path / "other/metrics.jsonl").open("a") as file:
        file.write('\n{"step": 3, "d_loss": 1.0, "g_loss": 1.0}')
    folders = [str(tmp_path / name) for name in ("one", "other")]
    result = subprocess.run(
        [sys.executable, SCRIPTS / "compare_runs.py", *folders],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
