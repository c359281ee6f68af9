"""The commands, run as a person types them."""

import re
import signal
import time

import pytest
from command_line import (
    SETTINGS,
    TINY,
    command,
    run,
    start,
    start_and_wait,
    train_command,
)
from PIL import Image

from sagan.cli import short_errors
from sagan.config import parse_config
from sagan.runs.checkpoints import checkpoint_steps
from sagan.runs.record import parse_recorded_config
from sagan.training.train import train


@pytest.mark.parametrize("module", ["train", "sample", "launch"])
def test_help_is_quick_and_shows_examples(module):
    started = time.monotonic()
    result = run(command(module, "--help"))
    # TensorFlow, which alone takes longer to import, is not needed for it.
    assert time.monotonic() - started < 3
    assert f"python -m sagan.{module} --" in result.stdout
    assert "--workdir" in result.stdout


def test_a_run_is_stopped_resumed_moved_and_sampled(tmp_path):
    """Killed ones, and that all end bitwise alike: tests/endurance."""
    workdir = tmp_path / "run"
    process = start_and_wait(
        train_command(workdir, "NUM_STEPS = 100000"), workdir, 2
    )
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    # Neither 0, which a batch system takes for the end, nor 1, an error.
    assert process.returncode == 128 + signal.SIGINT, errors
    assert "Starting at step 0" in errors
    stopped = checkpoint_steps(workdir / "checkpoints")[-1]
    assert f"Stopped by SIGINT after step {stopped}" in errors

    # The terminal shows the run and nothing of TensorFlow.
    last = stopped + 2
    result = run(train_command(workdir, f"NUM_STEPS = {last}"))
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    for line, text in zip(
        lines,
        (
            "Dataset synthetic",
            "Checked conv2d and convolutions in float32",
            f"Resuming at step {stopped}",
            "First step after",
            f"step {last - 1}/{last}",
            f"step {last}/{last}",
            f"All {last} steps are done.",
        ),
        strict=True,
    ):
        assert text in line
    assert result.stdout == ""

    # A grid needs nothing but the run's folder, wherever it is.
    moved, out = workdir.rename(tmp_path / "moved"), tmp_path / "grid.png"
    result = run(
        command(
            "sample", f"--workdir={moved}", f"--out={out}", "--num_images=10"
        )
    )
    assert result.returncode == 0, result.stderr
    with Image.open(out) as image:
        # Columns for a row of each of the four classes.
        assert image.size == (2 * 34 - 2, 5 * 34 - 2)


def test_sigterm_before_the_first_step_is_one_line(tmp_path):
    process = start(train_command(tmp_path, "NUM_STEPS = 3"))
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
        (["--workdr=x"], "Unknown command line flag 'workdr'"),
        (["runs/x"], "Unexpected argument 'runs/x'"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(tmp_path, arguments, message):
    result = run([*train_command(tmp_path / "run"), *arguments])
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("config", "bindings", "message"),
    [
        ("synthetic", ["train.num_step=2"], "Did you mean 'num_steps'?"),
        ("synthetic", ["POINTWISE=matmul"], "Strings need quotes"),
        ("celebA", [], "configs/celebA.gin"),
        (
            "synthetic",
            [
                "make_dataset.name='folder:/nowhere'",
                "make_dataset.num_examples=None",
            ],
            "/nowhere",
        ),
    ],
)
def test_a_mistake_of_settings_is_one_error(
    tmp_path, monkeypatch, config, bindings, message
):
    monkeypatch.chdir(SETTINGS["cwd"])

    @short_errors()
    def start_run():
        parse_config([f"configs/{config}.gin"], [*TINY, *bindings])
        train(workdir=str(tmp_path / "run"))

    with pytest.raises(SystemExit, match=f"(?s)Error: .*{re.escape(message)}"):
        start_run()
    assert not (tmp_path / "run").exists()


def test_sampling_something_else_is_one_error(tmp_path):
    with pytest.raises(SystemExit, match="is not the folder of a run"):
        short_errors()(parse_recorded_config)(tmp_path)
