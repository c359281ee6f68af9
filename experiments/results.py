"""What the runs of a sweep logged, and the numbers taken from it."""

import csv
import dataclasses
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from experiments.experiment import Experiment
from experiments.sweep import LOG_FILE
from sagan.config import OPERATIVE_CONFIG_FILE
from sagan.evaluation.best import LOWER
from sagan.runs.files import read_json
from sagan.runs.logs import read_metrics
from sagan.runs.record import SESSIONS_FILE
from sagan.runs.resume import flatten

SPEEDS = ("images_per_second", "step_seconds")
LOSSES = ("d_loss", "g_loss")
NUMBERS = (*SPEEDS, "peak_memory_gb", *LOSSES)
GAMMA = "/gamma/"
SCORE = "score/"
# How the log ends of a run that stopped at values that are not finite.
_DIVERGED = re.compile(r"^Error: (Step \d+: .* is (nan|-?inf))\. ")
_END_BYTES = 10_000


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run logged.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        folder: The run's folder.
        lines: Of `metrics.jsonl`, by step.
        sessions: One dict for each process that worked on it.
        settings: Its operative config, flat; empty if it has none yet.
        end: Of its output, the last line.
    """

    arm: str
    seed: int
    folder: pathlib.Path
    lines: Sequence[dict]
    sessions: Sequence[dict]
    settings: dict[str, object]
    end: str = ""

    @property
    def step(self) -> int:
        """The last step logged, 0 for none."""
        return self.lines[-1]["step"] if self.lines else 0

    @property
    def num_steps(self) -> int | None:
        """Steps in all, None if it has not begun."""
        return self.settings.get("train.num_steps")

    @property
    def finished(self) -> bool:
        return self.num_steps is not None and self.step >= self.num_steps

    @property
    def diverged(self) -> str | None:
        """What was not finite and at which step, if that ended the run."""
        match = _DIVERGED.match(self.end)
        return match[1] if match and not self.finished else None

    def series(self, name: str) -> dict[int, float]:
        """Returns a scalar by step, where it was logged and is finite."""
        return {
            line["step"]: line[name]
            for line in self.lines
            if line.get(name) is not None
        }


def read_sweep(workdir) -> list[Result]:
    """Reads all runs in the folder of a sweep, in order of arm and seed."""
    results = []
    for folder in pathlib.Path(workdir).glob("*/seed_*"):
        match = re.fullmatch(r"seed_(\d+)", folder.name)
        if not match:
            continue
        config = folder / OPERATIVE_CONFIG_FILE
        sessions = folder / SESSIONS_FILE
        results.append(
            Result(
                folder.parent.name,
                int(match[1]),
                folder,
                read_metrics(folder),
                read_json(sessions),
                flatten("\n".join(_lines(config))),
                _last_line(folder / LOG_FILE),
            )
        )
    return sorted(results, key=lambda result: (result.arm, result.seed))


def order_arms(experiment: Experiment, results: Iterable[Result]) -> list[str]:
    """Returns the arms of a sweep: the baseline first, unknown ones last."""
    found = {result.arm for result in results}
    known = [arm for arm in experiment.arms if arm in found]
    return known + sorted(found - set(known))


def measure(result: Result) -> dict[str, float]:
    """Returns the numbers that stand for a run.

    Speeds are medians over the log intervals; the first interval of each
    process is left out, as it contains tracing. Losses are means over the last
    tenth of the logged steps, gammas and scores the last logged values, and
    memory is the largest.
    """
    numbers = {}
    starts = {session["step"] for session in result.sessions} or {0}
    steps = [line["step"] for line in result.lines]
    first = {
        min((s for s in steps if s > start), default=0) for start in starts
    }
    for name in SPEEDS:
        values = result.series(name).items()
        settled = [value for step, value in values if step not in first]
        numbers[name] = _statistic(np.median, settled)
    memory = result.series("peak_memory_gb").values()
    numbers["peak_memory_gb"] = _statistic(max, memory)
    for name in LOSSES:
        numbers[name] = _statistic(np.mean, last_tenth(result.series(name)))
    names = sorted({name for line in result.lines for name in line})
    for part in (GAMMA, SCORE):
        for name in names:
            if part in name:
                values = tuple(result.series(name).values())
                numbers[name] = values[-1] if values else math.nan
    return numbers


def measure_sweep(
    arms: Mapping[str, Sequence[Result]],
) -> dict[str, dict[int, dict[str, float]]]:
    """Returns the numbers to compare, by arm and seed.

    Finished runs have those of `measure`. Those that diverged have, for each
    score, the worst value that any run of the sweep has logged, and nothing
    else: left out, they would make the least stable arm look best. Other runs
    are left out.
    """
    runs = [run for results in arms.values() for run in results]
    names = {n for run in runs for line in run.lines for n in line}
    worst = {}
    for name in names:
        values = [v for run in runs for v in run.series(name).values()]
        if name.startswith(SCORE) and values:
            # Of the scores that are not known to be errors, more is better.
            key = re.sub("_(ema|raw)$", "", name.removeprefix(SCORE))
            worst[name] = max(values) if key in LOWER else min(values)
    return {
        arm: {
            run.seed: measure(run) if run.finished else worst
            for run in results
            if run.finished or run.diverged
        }
        for arm, results in arms.items()
    }


def last_tenth(series: dict[int, float]) -> list[float]:
    """Returns the values of the last tenth of the steps, at least one."""
    values = [series[step] for step in sorted(series)]
    return values[-max(1, len(values) // 10) :]


def drift(result: Result, baseline: Result) -> dict[int, float]:
    """Returns `|d_loss - d_loss of the baseline|` by step."""
    ours, theirs = result.series("d_loss"), baseline.series("d_loss")
    return {
        step: abs(ours[step] - theirs[step])
        for step in sorted(ours.keys() & theirs.keys())
    }


def write_csv(path, results: Iterable[Result]) -> None:
    """Writes one line of numbers a run, unfinished runs too.

    Each has what it logged itself, diverged or not.
    """
    rows = [
        {
            "arm": result.arm,
            "seed": result.seed,
            "step": result.step,
            "num_steps": result.num_steps,
            "finished": result.finished,
            "diverged": result.diverged,
            **measure(result),
        }
        for result in results
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with pathlib.Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _statistic(function, values):
    values = list(values)
    return float(function(values)) if values else math.nan


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


def _last_line(path):
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_BYTES))
        text = file.read().decode(errors="replace")
    return text.strip().rpartition("\n")[2]
