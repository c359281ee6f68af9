"""Several processes train as one, stop as one, and end as one."""

import json
import shutil
import signal

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
    "train.save_every = 1",
    "train.keep_every = 1",
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
    """Trains in this process."""
    gin.clear_config()
    parse_config([CONFIG], [*BINDINGS, f"NUM_STEPS = {steps}"])
    train(workdir=str(workdir))


def networks(workdir, step):
    """Returns the networks' values by their keys."""
    values = read_checkpoint(workdir / "checkpoints", step)
    return {k: v for k, v in values.items() if k.split("/")[0] in PARTS}


def test_two_workers_resume_like_one_and_stop_together(tmp_path, run_eagerly):
    whole, workdir = tmp_path / "whole", tmp_path / "moved"
    train_alone(workdir, 1)
    shutil.copytree(workdir, whole)
    train_alone(whole, 3)

    launcher = start(workdir, lines=2)
    send_to_worker_1(launcher, signal.SIGTERM)
    errors = launcher.communicate(timeout=90)[1]
    assert launcher.returncode == 128 + signal.SIGTERM, errors
    assert "Resuming at step 1 on 2 replicas of 2 workers" in errors
    stopped = checkpoint_steps(workdir / "checkpoints")[-1]
    assert f"Stopped by SIGTERM after step {stopped}" in errors
    ours, theirs = networks(workdir, 3), networks(whole, 3)
    assert ours.keys() == theirs.keys()
    assert {name.split("/")[0] for name in theirs} == PARTS
    for name, expected in theirs.items():
        np.testing.assert_allclose(
            ours[name], expected, rtol=1e-5, atol=1e-5, err_msg=name
        )

    train_alone(workdir, stopped + 1)
    lines = (workdir / SESSIONS_FILE).read_text().splitlines()
    sessions = [json.loads(line) for line in lines]
    assert [s["workers"] for s in sessions] == [1, 2, 1]
    assert [s["replicas"] for s in sessions] == [1, 2, 1]
