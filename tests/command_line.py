"""Commands in processes of their own, as a person types them."""

import os
import pathlib
import subprocess
import sys
import time

TINY = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "ATTENTION_RESOLUTIONS = ()",
    "train.num_samples = 8",
    "train.log_every = 1",
    "train.save_every = 3",
    "train.sample_every = 100",
    "make_dataset.num_examples = 64",
)
# Nothing that the tests set for their own TensorFlow.
SETTINGS = {
    "cwd": pathlib.Path(__file__).parents[1],
    "env": {k: v for k, v in os.environ.items() if not k.startswith("TF_")},
    "text": True,
}


def command(module, *arguments):
    return [sys.executable, "-m", f"sagan.{module}", *arguments]


def train_command(workdir, *bindings):
    """Returns the command of a run of the smallest networks."""
    return command(
        "train",
        "--gin_config=configs/synthetic.gin",
        f"--workdir={workdir}",
        *(f"--gin_bindings={binding}" for binding in (*TINY, *bindings)),
    )


def run(arguments):
    """Waits for a command; returns its exit status and output."""
    return subprocess.run(
        arguments, capture_output=True, timeout=300, **SETTINGS
    )


def start(arguments):
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, **SETTINGS)


def start_and_wait(arguments, workdir, steps):
    """Returns the process of a run once it has logged so many steps."""
    metrics = workdir / "metrics.jsonl"
    before = metrics.read_text().count("\n") if metrics.exists() else 0
    process = start(arguments)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists():
            logged = metrics.read_text().count("\n") - before
            if logged >= steps:
                return process
        time.sleep(0.02)
    process.kill()
    raise AssertionError(process.communicate()[1])
