"""The commands, run as a person types them."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint

ROOT = pathlib.Path(__file__).parent.parent
TINY = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "train.num_samples = 8",
    "train.log_every = 1",
    "train.save_every = 3",
    "train.sample_every = 100",
    "train.deterministic = True",
    "make_dataset.num_examples = 64",
)


def command(module, *arguments):
    return [sys.executable, "-m", f"sagan.{module}", *arguments]


def train_command(workdir, *bindings):
    return command(
        "train",
        "--gin_config=configs/synthetic.gin",
        f"--workdir={workdir}",
        *(f"--gin_bindings={binding}" for binding in (*TINY, *bindings)),
    )


def run(arguments, **kwargs):
    return subprocess.run(
        arguments,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        **kwargs,
    )


def start_and_wait(arguments, workdir, lines):
    """Starts training and returns the process once it logged some steps."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    metrics = workdir / "metrics.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if metrics.exists() and metrics.read_text().count("\n") >= lines:
            return process
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    raise AssertionError(process.communicate()[1])


@pytest.mark.parametrize("module", ["train", "sample", "launch"])
def test_help_is_quick_and_shows_examples(module):
    started = time.monotonic()
    result = run(command(module, "--help"))
    # TensorFlow, which alone takes longer to import, is not needed for it.
    assert time.monotonic() - started < 3
    assert f"python -m sagan.{module} --" in result.stdout
    assert "--workdir" in result.stdout


def test_killed_run_goes_on_and_ends_like_the_undisturbed_one(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = run(train_command(whole, "NUM_STEPS = 12"))
    assert result.returncode == 0, result.stderr

    process = start_and_wait(
        train_command(killed, "NUM_STEPS = 12"), killed, lines=5
    )
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint_steps(killed / "checkpoints")[-1] < 12
    result = run(train_command(killed, "NUM_STEPS = 12"))
    assert result.returncode == 0, result.stderr
    assert "Resuming at step" in result.stderr
    np.testing.assert_equal(
        read_checkpoint(killed / "checkpoints"),
        read_checkpoint(whole / "checkpoints"),
    )

    # A grid needs nothing but the run's folder, wherever it is.
    moved = killed.rename(tmp_path / "moved")
    out = tmp_path / "grid.png"
    result = run(
        command(
            "sample", f"--workdir={moved}", f"--out={out}", "--num_images=10"
        )
    )
    assert result.returncode == 0, result.stderr
    with Image.open(out) as image:
        assert image.size == (8 * 34 - 2, 2 * 34 - 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_finishes_the_step_and_saves(tmp_path, number):
    process = start_and_wait(
        train_command(
            tmp_path, "NUM_STEPS = 100000", "train.save_every = 90000"
        ),
        tmp_path,
        lines=4,
    )
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    # Neither 0, which a batch system takes for the end, nor 1, an error.
    assert process.returncode == 128 + number, errors
    assert f"Stopped by {number.name}" in errors
    steps = checkpoint_steps(tmp_path / "checkpoints")
    assert len(steps) == 1
    assert f"after step {steps[0]}" in errors


def test_sigterm_before_the_first_step_is_one_line(tmp_path):
    process = subprocess.Popen(
        train_command(tmp_path, "NUM_STEPS = 3"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [process.stderr.readline()]
    process.send_signal(signal.SIGTERM)
    lines += process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 128 + signal.SIGTERM, lines
    assert "Dataset synthetic" in lines[0]
    assert "Stopped at once by SIGTERM." in lines[-1]
    assert len(lines) <= 3, lines
    assert not list(tmp_path.rglob(".partial_*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gin_bindings=NUM_STEP=2"], "Did you mean 'NUM_STEPS'?"),
        (["--gin_bindings=train.num_step=2"], "Did you mean 'num_steps'?"),
        (["--gin_bindings=POINTWISE=matmul"], "Strings need quotes"),
        (["--gin_config=configs/celebA.gin"], "configs/celebA.gin"),
        (["--workdr=x"], "Unknown command line flag 'workdr'"),
        (["runs/x"], "Unexpected argument 'runs/x'"),
        (
            [
                "--gin_bindings=make_dataset.name='folder:/nowhere'",
                "--gin_bindings=make_dataset.num_examples=None",
            ],
            "/nowhere",
        ),
    ],
)
def test_mistake_is_named_without_a_traceback(tmp_path, arguments, message):
    result = run([*train_command(tmp_path / "run"), *arguments])
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_sampling_something_else_is_named_without_a_traceback(tmp_path):
    out = tmp_path / "grid.png"
    result = run(command("sample", f"--workdir={tmp_path}", f"--out={out}"))
    assert result.returncode == 1
    assert "is not the folder of a run" in result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists()


def test_terminal_shows_the_run_and_nothing_of_tensorflow(tmp_path):
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TF_")
    }
    result = run(train_command(tmp_path, "NUM_STEPS = 2"), env=environment)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 7, result.stderr
    for line, text in zip(
        lines,
        (
            "Dataset synthetic",
            "Checked conv2d and convolutions in float32",
            "Starting at step 0",
            "First step after",
            "step 1/2",
            "step 2/2",
            "All 2 steps are done.",
        ),
        strict=True,
    ):
        assert text in line
    assert result.stdout == ""
