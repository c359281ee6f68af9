"""What the runs of a sweep logged, and the numbers taken from it."""

import csv
import dataclasses
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

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
ATTENTION = "attention/"
# Parts of the names of numbers whose last value stands for a run.
STATES = (GAMMA, ATTENTION, SCORE)
LABELS = {
    "images_per_second": "images/s",
    "step_seconds": "step (s)",
    "peak_memory_gb": "peak memory (GB)",
}
# Last line of the log of a run that stopped at non-finite values.
_DIVERGED = re.compile(r"^Error: (Step \d+: .* is (nan|-?inf))\. ")


Numbers = Mapping[str, Mapping[int, Mapping[str, float]]]


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run logged.

    Attributes:
        arm: Name of its arm.
        seed: Its seed.
        folder: The run's folder.
        lines: Lines of `metrics.jsonl`, by step.
        sessions: One dict for each process that worked on it.
        settings: Its operative config, flat; empty if it has none yet.
        end: Last line of its output.
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
        """Number of steps of the whole run, None before it starts."""
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
        if match := re.fullmatch(r"seed_(\d+)", folder.name):
            result = Result(
                folder.parent.name,
                int(match[1]),
                folder,
                read_metrics(folder),
                read_json(folder / SESSIONS_FILE),
                flatten(_read(folder / OPERATIVE_CONFIG_FILE)),
                _read(folder / LOG_FILE).strip().rpartition("\n")[2],
            )
            results.append(result)
    return sorted(results, key=lambda result: (result.arm, result.seed))


def measure(result: Result) -> dict[str, float]:
    """Returns the numbers that stand for a run.

    Speeds are medians over the log intervals; the first interval of each
    process is left out, as it contains tracing. Losses are means over the last
    tenth of the logged steps, gammas and scores the last logged values, and
    memory is the largest. Numbers of attention count as gammas do.
    """
    steps = [line["step"] for line in result.lines]
    starts = {session["step"] for session in result.sessions} or {0}
    first = {
        min((s for s in steps if s > start), default=0) for start in starts
    }

    def speed(series):
        settled = [v for step, v in series.items() if step not in first]
        return np.median(settled) if settled else math.nan

    statistics = {
        **dict.fromkeys(SPEEDS, speed),
        "peak_memory_gb": lambda series: max(series.values()),
        **dict.fromkeys(LOSSES, lambda series: np.mean(last_tenth(series))),
    }
    names = sorted({name for line in result.lines for name in line})
    for part in STATES:
        for name in names:
            if part in name:
                statistics[name] = lambda series: [*series.values()][-1]
    return {
        name: float(statistic(series)) if series else math.nan
        for name, statistic in statistics.items()
        for series in [result.series(name)]
    }


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


def label(name: str) -> str:
    """Returns how reports call a number."""
    return LABELS.get(name, name)


def number_names(numbers: Numbers) -> list[str]:
    """Returns the names of all numbers, as `measure` orders them."""
    names = {n for seeds in numbers.values() for m in seeds.values() for n in m}
    later = [sorted(n for n in names if part in n) for part in STATES]
    return [n for n in NUMBERS if n in names] + sum(later, [])


def last_tenth(series: dict[int, float]) -> list[float]:
    """Returns the values of the last tenth of the steps, at least one."""
    values = [series[step] for step in sorted(series)]
    return values[-max(1, len(values) // 10) :]


def drifts(
    runs: Iterable[Result], baseline: Sequence[Result]
) -> list[dict[int, float]]:
    """Returns `|d_loss - d_loss of the baseline|` by step, for each pair."""
    pairs = [
        (run.series("d_loss"), other.series("d_loss"))
        for run in runs
        for other in baseline
        if run.seed == other.seed
    ]
    shared = [(a, b, sorted(a.keys() & b.keys())) for a, b in pairs]
    return [
        {s: abs(a[s] - b[s]) for s in steps} for a, b, steps in shared if steps
    ]


def write_csv(path, results: Iterable[Result]) -> None:
    """Writes each run's own numbers, diverged and unfinished runs too."""
    columns = ("arm", "seed", "step", "num_steps", "finished", "diverged")
    rows = [
        {name: getattr(result, name) for name in columns} | measure(result)
        for result in results
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with pathlib.Path(path).open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _read(path):
    return path.read_text(errors="replace") if path.exists() else ""
