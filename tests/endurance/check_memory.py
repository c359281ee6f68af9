"""Checks that a run's memory, open files and threads do not grow.

  python tests/endurance/check_memory.py --workdir=runs/memory

Trains a tiny network that logs, draws and saves often, and prints the resident
size of the process, its open files and its threads at some steps. The exit
status is 1 if the size has grown by more than --allowed MB from the second of
these steps to the last. Linux only.
"""

import json
import pathlib
import subprocess
import sys
import time

from absl import app, flags

from sagan.cli import command, define_path

FLAGS = flags.FLAGS
define_path("workdir", "New folder for the run.", required=True)
flags.DEFINE_list(
    "steps", ["500", "1000", "2000", "3000", "4000", "5000"], "Steps to print."
)
flags.DEFINE_float("allowed", 20, "MB that the process may grow by.", 0)
flags.DEFINE_multi_string("gin_bindings", [], "Settings of the run.")

_SETTINGS = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "train.num_samples = 8",
    "train.log_every = 10",
    "train.save_every = 20",
    "train.sample_every = 100",
    "make_dataset.num_examples = 256",
)


def main(argv):
    with command(argv):
        steps = [int(step) for step in FLAGS.steps]
        if len(steps) < 2 or steps != sorted(steps) or steps[0] < 10:
            raise ValueError(
                f"--steps={','.join(FLAGS.steps)}: expected two or more, "
                "ascending, the first at least 10."
            )
        workdir = pathlib.Path(FLAGS.workdir)
        if workdir.exists():
            raise ValueError(f"--workdir={workdir} exists: give a new one.")
        sizes = _watch(workdir, steps)
    sys.exit(0 if sizes[-1] - sizes[1] <= FLAGS.allowed else 1)


def _watch(workdir, steps):
    """Trains; returns the sizes at the steps in MB, printing each."""
    bindings = [
        *_SETTINGS,
        *FLAGS.gin_bindings,
        f"NUM_STEPS = {steps[-1] + 10}",
    ]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "sagan.train", f"--workdir={workdir}",
            "--gin_config=configs/synthetic.gin",
            *(f"--gin_bindings={binding}" for binding in bindings),
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    print(f"{'step':>6}{'resident MB':>14}{'files':>8}{'threads':>9}")
    sizes = []
    for step in steps:
        while _last_step(workdir) < step:
            if process.poll() is not None:
                raise RuntimeError(
                    f"The run ended before step {step} (exit status "
                    f"{process.returncode}). Its folder: {workdir}"
                )
            time.sleep(0.3)
        size, threads = _status(process.pid)
        files = len(list(pathlib.Path(f"/proc/{process.pid}/fd").iterdir()))
        print(f"{step:6}{size:14.1f}{files:8}{threads:9}", flush=True)
        sizes.append(size)
    process.wait()
    return sizes


def _last_step(workdir):
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def _status(pid):
    """Returns the resident size in MB, and the number of threads."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values["VmRSS"].split()[0]) * 1024 / 1e6, int(values["Threads"])


if __name__ == "__main__":
    app.run(main)
