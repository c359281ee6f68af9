"""The command that plans a run, as a person types it."""

import pathlib
import re
import subprocess
import sys

import pytest

from sagan.profiling.plan import Options

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "--devices is 0"),
        ({"memory": -1.0}, "--memory is -1"),
        ({"gflops": 0.0, "bandwidth": 1.0}, "--gflops is 0"),
        ({"gflops": float("nan"), "bandwidth": 1.0}, "--gflops is nan"),
        ({"gflops": 1.0}, "give both"),
        ({"devices": 2}, "--allreduce .* is needed"),
        ({"allreduce": 1.0}, "--devices is 1"),
        (
            {"measure": True, "gflops": 1.0, "bandwidth": 1.0},
            "--measure runs steps",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def summary(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sagan.summary", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_command_prints_tables_and_a_plan():
    result = summary(
        "--gin_config=configs/synthetic.gin",
        "--gin_bindings=BASE_CHANNELS=2",
        "--gflops=100",
        "--bandwidth=20",
        "--memory=1",
        "--devices=2",
        "--allreduce=1",
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    tables = [line for line in lines if line.startswith("blocks[0].conv1")]
    assert [line.split()[1] for line in tables] == ["8x8x8", "32x32x4"]
    assert "A step on a batch of 16:" in lines
    for text in (
        "held by 1x1 convolutions",
        "Largest batch in 1 GB",
        "Run: 1,500 steps of 1 + 1 updates, batch 32, on 2 devices",
        "All-reduce:",
        "device-hours",
    ):
        assert text in result.stdout


def test_command_compares_its_prediction_with_steps_it_runs():
    result = summary(
        "--gin_config=configs/synthetic.gin",
        "--gin_bindings=BASE_CHANNELS=2",
        "--gin_bindings=BATCH_SIZE=4",
        "--measure",
    )
    assert result.returncode == 0, result.stderr
    ratios = re.findall(r"predicted / measured (\d+\.\d\d)", result.stdout)
    assert len(ratios) == 2  # Of seconds and of memory.
    # Far off only if one of them is of something else.
    assert all(0.1 < float(ratio) < 10 for ratio in ratios), result.stdout


def test_command_names_a_mistake_without_a_traceback():
    result = summary("--gin_config=configs/synthetic.gin", "--devices=0")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: --devices is 0")
    assert "Traceback" not in result.stderr
