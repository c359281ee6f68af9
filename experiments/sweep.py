"""Running a sweep: one process a run, some at a time, stopped in order."""

import collections
import datetime
import fcntl
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

    A run's output is added to `train.log` in its folder. One that fails is
    reported and the others go on. SIGTERM and Ctrl-C are passed on to the
    processes as SIGTERM, upon which they save and end.

    Returns:
        The runs that failed, and the name of the signal that stopped the
        sweep, or None.
    """
    for run in runs:
        # The folders say what the sweep is to hold, begun or not.
        run.folder.mkdir(parents=True, exist_ok=True)
    finished = [run for run in runs if is_finished(run)]
    waiting = collections.deque(run for run in runs if run not in finished)
    logging.info(
        "%d runs: %d finished, %d to make.",
        len(runs),
        len(finished),
        len(waiting),
    )
    progress = _Progress(runs)
    running, failed = {}, []
    with stop_signals() as stop:
        try:
            while running or (waiting and not stop.requested):
                while waiting and len(running) < jobs and not stop.requested:
                    run = waiting.popleft()
                    logging.info("Starting %s.", run)
                    running[run] = _Process(run)
                if stop.requested:
                    for process in running.values():
                        process.stop()
                for run, process in tuple(running.items()):
                    if process.ended():
                        del running[run]
                        if not is_finished(run) and not process.stopped:
                            failed.append(run)
                            _report_failure(run, process)
                        progress.show(f"{run} ended")
                if progress.due():
                    progress.show(f"{', '.join(map(str, running))} running")
                time.sleep(POLL_SECONDS)
        finally:
            # Only where this process itself fails, or is told twice to stop.
            for process in running.values():
                process.kill()
    return failed, stop.requested


def is_finished(run: Run) -> bool:
    """Whether a run has a checkpoint of its last step."""
    steps = checkpoint_steps(run.folder / CHECKPOINT_FOLDER)
    return bool(steps) and steps[-1] >= run.num_steps


class _Process:
    """A run's process and its log.

    It has a process group of its own, so that Ctrl-C reaches it once, through
    the sweep. The log is locked as long as the process lives, even if the
    sweep is killed and started again.
    """

    def __init__(self, run):
        self.stopped = False
        self.code = None
        self.popen = None
        self.path = run.folder / LOG_FILE
        with self.path.open("ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.reason = "another process is making this run"
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
        if self.popen is None:
            return True
        self.code = self.popen.poll()
        if self.code is not None:
            self.reason = f"exit code {self.code}"
        return self.code is not None

    def stop(self):
        if self.popen and not self.stopped:
            self.popen.terminate()
        self.stopped = True

    def kill(self):
        if self.popen:
            self.popen.kill()

    def tail(self):
        """Returns the last lines that the process has logged."""
        if self.popen is None:
            return []
        with self.path.open("rb") as log:
            log.seek(self.start)
            text = log.read().decode(errors="replace")
        return [line for line in text.splitlines() if line][-TAIL_LINES:]


class _Progress:
    """Says how far a sweep is, and how long it will take at this speed."""

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


def _report_failure(run, process):
    logging.error(
        "%s failed (%s). %s ends with:\n%s",
        run,
        process.reason,
        process.path,
        "\n".join(f"    {line}" for line in process.tail()),
    )
