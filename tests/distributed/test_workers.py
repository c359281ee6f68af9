"""Several processes train as one, stop as one, and end as one."""

import json
import shutil
import signal
import time

import gin
import numpy as np
import psutil
from command_line import SETTINGS, command, start_and_wait

from sagan.config import parse_config
from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.record import SESSIONS_FILE
from sagan.training.train import train

CONFIG = SETTINGS["cwd"] / "configs/synthetic.gin"
BINDINGS = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "ATTENTION_RESOLUTIONS = ()",
    "NUM_CLASSES = 0",
    "build_generator.batch_norm = 'synchronized'",
    # Else a gradient that is rounding alone makes a step.
    "make_optimizers.epsilon = 1e-3",
    "train.num_samples = 4",
    "train.log_every = 1",
    "train.save_every = 2",
    "train.keep_every = 2",
    "train.sample_every = 100000",
    "make_dataset.num_examples = 16",
)
PARTS = {"generator", "discriminator", "ema_generator", "step"}


def start(workdir, lines):
    """Starts two workers; returns once they have logged so many steps."""
    bindings = [*BINDINGS, "NUM_STEPS = 100000"]
    arguments = [f"--gin_config={CONFIG}", f"--workdir={workdir}"]
    arguments += [f"--gin_bindings={binding}" for binding in bindings]
    launcher = command("launch", "--workers=2", "--", *arguments)
    return start_and_wait(launcher, workdir, lines)


def send_to_worker_1(launcher, number):
    for child in psutil.Process(launcher.pid).children():
        config = json.loads(child.environ()["TF_CONFIG"])
        if config["task"]["index"] == 1:
            child.send_signal(number)


def train_alone(workdir, steps):
    """Trains in this process; returns the networks' values by their keys."""
    gin.clear_config()
    parse_config([CONFIG], [*BINDINGS, f"NUM_STEPS = {steps}"])
    train(workdir=str(workdir))
    return networks(workdir, steps)


def networks(workdir, step):
    values = read_checkpoint(workdir / "checkpoints", step)
    return {k: v for k, v in values.items() if k.split("/")[0] in PARTS}


def check_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert {name.split("/")[0] for name in theirs} == PARTS
    for name, expected in theirs.items():
        np.testing.assert_allclose(
            ours[name], expected, rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_two_workers_train_like_one_and_end_together(tmp_path, run_eagerly):
    workdir, moved, whole = (tmp_path / name for name in ("run", "moved", "1"))
    launcher = start(workdir, lines=3)
    started = time.monotonic()
    send_to_worker_1(launcher, signal.SIGKILL)
    errors = launcher.communicate(timeout=90)[1]
    # 30 s are promised, on a machine that is not busy with tests.
    assert time.monotonic() - started < 60
    assert launcher.returncode == 128 + signal.SIGKILL
    assert "Worker 0 of 2 ends: another worker has ended" in errors

    # The run is resumed from step 2 by one process.
    shutil.copytree(workdir, moved)
    for path in (moved / "checkpoints").iterdir():
        if path.name != min(p.name for p in (moved / "checkpoints").iterdir()):
            shutil.rmtree(path)
    expected = train_alone(whole, 2)
    check_equal(networks(workdir, 2), expected)
    check_equal(train_alone(moved, 3), train_alone(whole, 3))
    lines = (moved / SESSIONS_FILE).read_text().splitlines()
    sessions = [json.loads(line) for line in lines]
    assert [(s["workers"], s["replicas"]) for s in sessions] == [(2, 2), (1, 1)]

    # Or by two, until one of them is told to stop.
    newest = checkpoint_steps(workdir / "checkpoints")[-1]
    launcher = start(workdir, lines=2)
    send_to_worker_1(launcher, signal.SIGTERM)
    errors = launcher.communicate(timeout=90)[1]
    assert launcher.returncode == 128 + signal.SIGTERM, errors
    assert f"Resuming at step {newest}" in errors
    stopped = checkpoint_steps(workdir / "checkpoints")[-1]
    assert f"Stopped by SIGTERM after step {stopped}" in errors
