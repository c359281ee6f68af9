"""Runs a sweep: one process per run, several at a time, stopped together."""

import collections
import datetime
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence

from absl import logging

from experiments.experiment import Run
from sagan.runs.checkpoints import CHECKPOINT_FOLDER, checkpoint_steps
from sagan.runs.logs import read_metrics
from sagan.runs.signals import stop_signals

LOG_FILE = "train.log"
POLL_SECONDS = 0.2
PROGRESS_SECONDS = 60.0
TAIL_LINES = 8


def run_all(runs: Sequence[Run], jobs: int = 1) -> tuple[list[Run], str | None]:
    """Makes the runs that are not finished, `jobs` at a time, in order.

    A run's output is appended to `train.log` in its folder. One that fails is
    reported and the others continue. SIGTERM and Ctrl-C reach the processes as
    SIGTERM, upon which they save and end.

    Returns:
        The runs that failed, and the name of the signal that stopped the
        sweep, or None.
    """
    for run in runs:
        # The folders say what the sweep is to hold, begun or not.
        run.folder.mkdir(parents=True, exist_ok=True)
    waiting = collections.deque(run for run in runs if not is_finished(run))
    finished = len(runs) - len(waiting)
    logging.info(
        "%d runs: %d finished, %d to make.", len(runs), finished, len(waiting)
    )
    progress = _Progress(runs)
    running, failed = [], []
    with stop_signals() as stop:
        try:
            while running or (waiting and not stop.requested):
                while waiting and len(running) < jobs and not stop.requested:
                    run = waiting.popleft()
                    logging.info("Starting %s.", run)
                    running.append(_Process(run))
                for process in tuple(running):
                    if stop.requested:
                        process.stop()
                    if process.ended():
                        running.remove(process)
                        if process.failed():
                            failed.append(process.run)
                        progress.show(f"{process.run} ended")
                if progress.due():
                    names = ", ".join(str(process.run) for process in running)
                    progress.show(f"{names} running")
                time.sleep(POLL_SECONDS)
        finally:
            # Left only if this process itself fails, or is told twice to stop.
            for process in running:
                process.signal(signal.SIGKILL)
    return failed, stop.requested


def is_finished(run: Run) -> bool:
    """Whether a run has a checkpoint of its last step."""
    steps = checkpoint_steps(run.folder / CHECKPOINT_FOLDER)
    return bool(steps) and steps[-1] >= run.num_steps


class _Process:
    """A run's process group and its log.

    A group of its own, so that Ctrl-C reaches it once, through the sweep. The
    log is locked as long as the process lives, even if the sweep is killed and
    started again.
    """

    def __init__(self, run):
        self.run = run
        self.stopped = False
        self.popen = None
        self.path = run.folder / LOG_FILE
        with self.path.open("ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            self.start = log.tell()
            self.popen = subprocess.Popen(
                run.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self):
        return self.popen is None or self.popen.poll() is not None

    def signal(self, number):
        if not self.ended():
            os.killpg(self.popen.pid, number)

    def stop(self):
        if not self.stopped:
            self.signal(signal.SIGTERM)
        self.stopped = True

    def failed(self):
        """Whether it ended unasked and unfinished, which is then reported."""
        if self.stopped or is_finished(self.run):
            return False
        reason, tail = "another process is making this run", []
        if self.popen:
            reason = f"exit code {self.popen.returncode}"
            text = self.path.read_bytes()[self.start :].decode(errors="replace")
            tail = [line for line in text.splitlines() if line][-TAIL_LINES:]
        logging.error(
            "%s failed (%s). %s ends with:\n%s",
            self.run,
            reason,
            self.path,
            "\n".join(f"    {line}" for line in tail),
        )
        return True


class _Progress:
    """Logs how far a sweep is, and the time it will still take."""

    def __init__(self, runs):
        self.runs = runs
        self.total = sum(run.num_steps for run in runs)
        self.at_start = self._steps()
        self.started = self.shown = time.monotonic()

    def due(self):
        return time.monotonic() - self.shown >= PROGRESS_SECONDS

    def show(self, what):
        self.shown = time.monotonic()
        steps = self._steps()
        made = steps - self.at_start
        left = "unknown time"
        if made:
            seconds = (self.shown - self.started) / made * (self.total - steps)
            left = datetime.timedelta(seconds=round(seconds))
        logging.info(
            "%d/%d runs, %d/%d steps, %s left: %s.",
            sum(map(is_finished, self.runs)),
            len(self.runs),
            steps,
            self.total,
            left,
            what,
        )

    def _steps(self):
        return sum(min(_last_step(run), run.num_steps) for run in self.runs)


def _last_step(run):
    lines = read_metrics(run.folder)
    return lines[-1]["step"] if lines else 0
