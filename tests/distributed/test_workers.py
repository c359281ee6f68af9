"""Several processes train as one, stop as one, and end as one."""

import json
import signal
import time

import numpy as np
import psutil
from test_commands import command, run, start_and_wait

from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.record import SESSIONS_FILE

SETTINGS = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "ATTENTION_RESOLUTIONS = ()",
    "NUM_CLASSES = 0",
    "build_generator.batch_norm = 'synchronized'",
    # Else a gradient that is rounding alone makes a step.
    "make_optimizers.epsilon = 1e-3",
    "train.num_samples = 4",
    "train.log_every = 1",
    "train.save_every = 100000",
    "train.sample_every = 100000",
    "make_dataset.num_examples = 16",
)


def arguments(workdir, *bindings):
    return [
        "--gin_config=configs/synthetic.gin",
        f"--workdir={workdir}",
        *(f"--gin_bindings={binding}" for binding in (*SETTINGS, *bindings)),
    ]


def launch(workdir, *bindings):
    return command(
        "launch", "--workers=2", "--", *arguments(workdir, *bindings)
    )


def workers(launcher):
    """Returns the processes of the workers, by their number."""
    children = psutil.Process(launcher.pid).children()
    return {
        json.loads(child.environ()["TF_CONFIG"])["task"]["index"]: child
        for child in children
    }


def test_two_workers_end_like_one_wherever_the_run_began(tmp_path):
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    result = run(command("train", *arguments(whole, "NUM_STEPS = 4")))
    assert result.returncode == 0, result.stderr
    result = run(launch(moved, "NUM_STEPS = 3"))
    assert result.returncode == 0, result.stderr
    result = run(command("train", *arguments(moved, "NUM_STEPS = 4")))
    assert result.returncode == 0, result.stderr

    lines = (moved / SESSIONS_FILE).read_text().splitlines()
    sessions = [json.loads(line) for line in lines]
    assert [s["workers"] for s in sessions] == [2, 1]
    assert [s["replicas"] for s in sessions] == [2, 1]
    ours, theirs = (
        read_checkpoint(moved / "checkpoints"),
        read_checkpoint(whole / "checkpoints"),
    )
    assert ours.keys() == theirs.keys()
    parts = "generator", "discriminator", "ema_generator", "step"
    for part in parts:
        assert any(name.split("/")[0] == part for name in theirs)
    for name, expected in theirs.items():
        if name.split("/")[0] in parts:
            np.testing.assert_allclose(
                ours[name], expected, rtol=1e-5, atol=1e-5, err_msg=name
            )


def test_sigterm_to_one_worker_stops_all_and_a_lost_one_ends_all(tmp_path):
    settings = ("NUM_STEPS = 100000", "train.save_every = 5")
    launcher = start_and_wait(launch(tmp_path, *settings), tmp_path, lines=3)
    workers(launcher)[1].send_signal(signal.SIGTERM)
    _, errors = launcher.communicate(timeout=90)
    assert launcher.returncode == 128 + signal.SIGTERM, errors
    stopped = checkpoint_steps(tmp_path / "checkpoints")[-1]
    assert f"Stopped by SIGTERM after step {stopped}" in errors

    lines = (tmp_path / "metrics.jsonl").read_text().count("\n") + 3
    launcher = start_and_wait(launch(tmp_path, *settings), tmp_path, lines)
    started = time.monotonic()
    workers(launcher)[1].send_signal(signal.SIGKILL)
    _, errors = launcher.communicate(timeout=90)
    # What is promised is 30 s on a machine that is not busy with tests.
    assert time.monotonic() - started < 60
    assert launcher.returncode not in (0, 128 + signal.SIGTERM)
    assert f"Resuming at step {stopped}" in errors
    assert "Worker 0 of 2 ends: another worker has ended" in errors
