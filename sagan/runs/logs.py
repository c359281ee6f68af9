"""Logs of a run: scalars as JSON lines, TensorBoard, a progress bar."""

import contextlib
import json
import math
import pathlib
import sys
import time

import tensorflow as tf
from absl import logging
from tqdm import tqdm

from sagan.runs.files import write_text

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Writes what a run measures.

    Scalars go to `metrics.jsonl`, one JSON object per line with `step` (and
    null for non-finite values), and to TensorBoard, as do images. Lines of
    steps after `step` are dropped: the run stopped after its last checkpoint
    and repeats them.

    Args:
        workdir: The run's folder.
        step: Step at which the run starts or resumes.
        num_steps: Step at which it ends.
        images_per_step: Real images per step, for the bar.
    """

    def __init__(
        self, workdir, step: int, num_steps: int, images_per_step: int
    ):
        workdir = pathlib.Path(workdir)
        self.path = workdir / METRICS_FILE
        _drop_after(self.path, step)
        self.file = self.path.open("a")
        self.board = tf.summary.create_file_writer(str(workdir / "tensorboard"))
        self.bar = tqdm(
            initial=step,
            total=num_steps,
            unit="step",
            disable=not sys.stderr.isatty(),
            dynamic_ncols=True,
        )
        self.images_per_step = images_per_step
        self.num_steps = num_steps
        self.first = None  # When the first call ended, and at which step.
        self.last_step = step

    def __enter__(self):
        if not self.bar.disable:
            # Lines of the log go above the bar, not into it.
            handler = logging.get_absl_handler().python_handler
            self.stream, handler.stream = handler.stream, _AboveBar()
        return self

    def __exit__(self, *exception):
        if not self.bar.disable:
            logging.get_absl_handler().python_handler.stream = self.stream
        self.bar.close()
        self.file.close()
        self.board.close()

    def advance(self, steps: int, **values: float) -> None:
        """Moves the progress bar on and shows `values` beside it.

        Args:
            steps: Number of steps in the last call.
            **values: Values of its last step.
        """
        self.last_step += steps
        # The time left is estimated without the first call, which compiles.
        self.first = self.first or (time.perf_counter(), self.last_step)
        if self.bar.disable:
            return
        rate = self.bar.format_dict["rate"] or 0.0
        values["images/s"] = rate * self.images_per_step
        self.bar.set_postfix(
            {name: f"{value:.3g}" for name, value in values.items()},
            refresh=False,
        )
        self.bar.update(steps)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes scalars, and a line on the terminal where there is no bar."""
        line = {"step": step}
        for name, value in values.items():
            # JSON has no infinity and no NaN.
            line[name] = value if math.isfinite(value) else None
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        with self.board.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.board.flush()
        if self.bar.disable:
            logging.info(
                "step %d/%d  d_loss %.3f  g_loss %.3f  %.1f images/s  %s left",
                step,
                self.num_steps,
                values["d_loss"],
                values["g_loss"],
                values["images_per_second"],
                self._time_left(step),
            )

    def image(self, step: int, name: str, pixels) -> None:
        """Writes `[height, width, channels]` uint8 to TensorBoard."""
        with self.board.as_default(step):
            tf.summary.image(name, pixels[None])

    def _time_left(self, step):
        # No step of this session before it was finite, or there was none.
        if not self.first or step == self.first[1]:
            return "?"
        started, first = self.first
        seconds = (time.perf_counter() - started) / (step - first)
        return tqdm.format_interval(seconds * (self.num_steps - step))


class _AboveBar:
    """A stream that writes above the progress bar."""

    def write(self, text):
        tqdm.write(text, file=sys.stderr, end="")

    def flush(self):
        sys.stderr.flush()


class StepTimer:
    """Divides a run's time into waiting for input, steps, and the rest."""

    def __init__(self):
        self.busy = self.waited = 0.0
        self.steps = 0

    @contextlib.contextmanager
    def input(self, steps: int = 1):
        """Times the wait for the input of some steps, and counts them."""
        started = time.perf_counter()
        yield
        self.waited += time.perf_counter() - started
        self.steps += steps

    @contextlib.contextmanager
    def step(self):
        """Times (a part of) a training step."""
        started = time.perf_counter()
        yield
        self.busy += time.perf_counter() - started

    def measure(self, images_per_step: int) -> dict[str, float]:
        """Returns the speed since the last call.

        `images_per_second` counts real images; `step_seconds` is a whole
        step's time and `input_seconds` what it waited for images in it.
        """
        seconds = self.busy + self.waited
        values = {
            "images_per_second": images_per_step * self.steps / seconds,
            "step_seconds": seconds / self.steps,
            "input_seconds": self.waited / self.steps,
        }
        self.__init__()
        return values


def read_metrics(workdir) -> list[dict[str, float]]:
    """Returns the lines of a run's `metrics.jsonl`; torn ones are skipped."""
    path = pathlib.Path(workdir) / METRICS_FILE
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            values = json.loads(line)
            int(values["step"])
        except (ValueError, TypeError, KeyError):
            logging.warning("%s has a torn line: %.60r", path, line)
        else:
            lines.append(values)
    return lines


def _drop_after(path, step):
    lines = read_metrics(path.parent)
    kept = "".join(
        json.dumps(line) + "\n" for line in lines if line["step"] <= step
    )
    write_text(path, kept)
