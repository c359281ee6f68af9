"""Kills short runs at random moments and compares what becomes of them.

  python tests/endurance/kill_runs.py --folder=runs/killed --kills=50
  python tests/endurance/kill_runs.py --folder=runs/killed2 --kills=10 \\
    --workers=2

Trains a tiny network on the synthetic images once undisturbed. Then starts the
same run again and again, each time killed (SIGKILL) at a moment drawn evenly
from the undisturbed run's duration, start-up included, or, for a share of the
kills, while it writes a checkpoint; until it ends by itself. Moments are told
by the lines of the log, so that a busy machine does not shift them. Every
tensor of its last checkpoint, every loss and every grid must be those of the
undisturbed run, bitwise. If enough kills have not been made, another run
follows. Of several workers one, drawn at random, is killed, and the others must
end by themselves. The exit status is 1 if anything differs.
"""

import collections
import contextlib
import dataclasses
import pathlib
import random
import re
import subprocess
import sys
import time

import psutil
from absl import app, flags

from sagan.cli import command, start_tensorflow
from sagan.runs.files import PARTIAL

FLAGS = flags.FLAGS
flags.DEFINE_string("folder", None, "New folder for the runs.", required=True)
flags.DEFINE_integer("kills", 50, "Least number of kills.", lower_bound=1)
flags.DEFINE_integer("num_steps", 80, "Steps of a run.", lower_bound=4)
flags.DEFINE_float("aimed", 0.3, "Share aimed at writes of checkpoints.", 0, 1)
flags.DEFINE_integer("workers", 1, "Processes of a run.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed for the moments.")

_SETTINGS = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "train.deterministic = True",
    "train.num_samples = 8",
    "train.log_every = 1",
    "train.save_every = 2",
    "train.sample_every = 16",
    "make_dataset.num_examples = 64",
)
_WHERE = (
    "before the first step",
    "in steps",
    "in a checkpoint write",
    "while drawing",
)

# Time within which the remaining workers must end.
_ENDING_SECONDS = 30


@dataclasses.dataclass
class Kill:
    """What a killed session left: where it was, and the steps it had made.

    `seconds` passed until its other workers had ended.
    """

    where: str
    seconds: float
    checkpoint: int
    logged: int


def main(argv):
    with command(argv):
        start_tensorflow()
        folder = pathlib.Path(FLAGS.folder)
        folder.mkdir(parents=True)
        whole = folder / "whole"
        times = _time_lines(whole, folder / "whole.log")
        print(f"undisturbed: {times[-1]:.0f} s, {FLAGS.num_steps} steps")
        draw = random.Random(FLAGS.seed)
        kills, wrong, runs = [], [], 0
        while len(kills) < FLAGS.kills:
            run = folder / f"run_{runs}"
            new, problems = _kill_until_it_ends(run, times, draw)
            problems += _problems(whole, run)
            kills += new
            wrong += [f"{run.name}: {problem}" for problem in problems]
            runs += 1
            print(f"{run.name}: {len(new)} kills, {len(problems)} problems")
            sys.stdout.flush()
        right = _report(kills, wrong, runs)
    sys.exit(0 if right else 1)


def _report(kills, wrong, runs):
    slowest = max(kill.seconds for kill in kills)
    counts = collections.Counter(kill.where for kill in kills)
    again = sum(max(0, kill.logged - kill.checkpoint) for kill in kills)
    rows = {
        "kills": len(kills),
        **{f"  {where}": counts[where] for where in _WHERE},
        "runs that ended": runs,
        "steps made again": again,
        "problems": len(wrong),
    }
    for name, value in rows.items():
        print(f"{name:28}{value:6}")
    if FLAGS.workers > 1:
        print(f"{'seconds until all had ended':28}{slowest:6.1f} at most")
    for line in wrong:
        print(f"WRONG: {line}")
    return not wrong


def _start(workdir, log):
    bindings = (*_SETTINGS, f"NUM_STEPS = {FLAGS.num_steps}")
    module = ["sagan.train"]
    if FLAGS.workers > 1:
        module = ["sagan.launch", f"--workers={FLAGS.workers}", "--"]
    with log.open("w") as file:
        return subprocess.Popen(
            [
                sys.executable, "-m", *module,
                "--gin_config=configs/synthetic.gin", f"--workdir={workdir}",
                *(f"--gin_bindings={binding}" for binding in bindings),
            ],
            stderr=file,
        )  # fmt: skip


def _time_lines(workdir, log):
    """Makes a run; returns when each line of its log came, and the end."""
    started = time.monotonic()
    process = _start(workdir, log)
    times = []
    while process.poll() is None:
        new = log.read_text().count("\n") - len(times)
        times += [time.monotonic() - started] * new
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(f"A run failed: {log.read_text()[-2000:]}")
    return [*times, time.monotonic() - started]


def _kill_until_it_ends(workdir, times, draw):
    """Returns the kills made, and what was wrong with the sessions."""
    kills, problems = [], []
    while True:
        log = workdir.with_name(f"{workdir.name}_{len(kills)}.log")
        process = _start(workdir, log)
        try:
            if draw.random() < FLAGS.aimed:
                _wait_for_write(process, workdir, draw)
            else:
                _wait(process, log, times, draw.uniform(0, times[-1]))
            ended = process.poll() is not None
            seconds = 0.0 if ended else _kill(process, draw)
        finally:
            process.kill()
        status = process.wait()
        text = log.read_text()
        if kills and "at step " in text:
            problems += _resumption(text, kills[-1])
        if ended or not status:
            if status:
                problems.append(f"exit status {status}: {text[-1000:]}")
            return kills, problems
        if seconds > _ENDING_SECONDS:
            problems.append(f"had ended after {seconds:.0f} s: {text[-1000:]}")
        kills.append(_inspect(workdir, text, seconds))


def _wait(process, log, times, moment):
    """Waits for the lines there were at the moment, and for what is left."""
    passed = [line for line in times if line <= moment]
    while process.poll() is None and log.read_text().count("\n") < len(passed):
        time.sleep(0.002)
    seconds = moment - max(passed, default=0)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _wait_for_write(process, workdir, draw):
    """Waits for a write that begins, and a part of the time that it takes."""
    passed = draw.randrange(6)
    seen = None
    while process.poll() is None:
        now = next((workdir / "checkpoints").glob(f"{PARTIAL}*"), None)
        if now and now != seen:
            if not passed:
                break
            passed -= 1
        seen = now or seen
        time.sleep(0.0005)
    time.sleep(draw.uniform(0, 0.02))


def _kill(process, draw):
    """Kills a worker; returns the seconds until all had ended."""
    # Of one worker, the command itself.
    workers = psutil.Process(process.pid).children() * (FLAGS.workers > 1)
    draw.choice(workers or [process]).kill()  # SIGKILL.
    started = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2 * _ENDING_SECONDS)
    return time.monotonic() - started


def _inspect(workdir, log, seconds):
    """Returns the `Kill` whose traces are in the folder."""
    from sagan.runs.checkpoints import checkpoint_steps
    from sagan.runs.logs import read_metrics

    steps = checkpoint_steps(workdir / "checkpoints")
    checkpoint = steps[-1] if steps else 0
    logged = [line["step"] for line in read_metrics(workdir)]
    logged = logged[-1] if logged else 0
    grid = workdir / f"samples/step_{logged:08d}_ema.png"
    if any((workdir / "checkpoints").glob(f"{PARTIAL}*")):
        where = "in a checkpoint write"
    elif "First step" not in log:
        where = "before the first step"
    elif logged > checkpoint and logged % 16 == 0 and not grid.exists():
        where = "while drawing"
    else:
        where = "in steps"
    return Kill(where, seconds, checkpoint, logged)


def _resumption(log, kill):
    """Yields how a session did not resume from the last checkpoint."""
    step = int(re.search(r"at step (\d+)", log)[1])
    if step != kill.checkpoint:
        yield f"resumed at step {step}, not {kill.checkpoint}: {log[:1000]}"
    if "damaged" in log:
        yield f"a damaged checkpoint: {log[:1000]}"


def _problems(whole, run):
    """Returns what is wrong with a run that was killed, and has ended."""
    from sagan.runs.checkpoints import read_checkpoint
    from sagan.runs.logs import read_metrics

    compared = subprocess.run(
        [sys.executable, "scripts/compare_runs.py", whole, run],
        capture_output=True,
        text=True,
    )
    found = (compared.stdout + compared.stderr[-1000:]).splitlines()
    if not compared.returncode:
        found = []
    found += [f"leftover {path}" for path in run.rglob(f"{PARTIAL}*")]
    steps = [line["step"] for line in read_metrics(whole)]
    tensors = read_checkpoint(whole / "checkpoints")
    if len(steps) != FLAGS.num_steps or len(tensors) < 100:
        found.append("the undisturbed run is incomplete")
    return found


if __name__ == "__main__":
    app.run(main)
