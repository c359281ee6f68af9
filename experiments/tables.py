"""Report: the runs and settings of a sweep, means over seeds, and drift."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from experiments.comparison import summarise
from experiments.experiment import REPEAT_SUFFIX, Experiment
from experiments.results import (
    Numbers,
    Result,
    drifts,
    label,
    last_tenth,
    number_names,
)

SEED_SETTINGS = ("train.seed", "make_dataset.seed")
NONE = "–"

Arms = Mapping[str, Sequence[Result]]


def table(head: Sequence, rows: Iterable[Sequence]) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def header(experiment: Experiment, baseline: str, arms: Arms) -> list[str]:
    """States what was run and where, and which runs are missing."""
    results = [run for runs in arms.values() for run in runs]
    sessions = [session for run in results for session in run.sessions]
    seeds = sorted({run.seed for run in results})
    steps = _distinct(run.num_steps for run in results if run.num_steps)
    finished = sum(run.finished for run in results)
    rows = [
        ("runs finished", f"{finished} of {len(arms) * len(seeds)}"),
        ("arms", ", ".join(arms)),
        ("baseline", baseline),
        ("seeds", ", ".join(map(str, seeds))),
        ("steps", steps),
        ("configs before the arm's", _flag_values(sessions, "gin_config")),
        ("bindings", _flag_values(sessions, "gin_bindings")),
        ("devices", _distinct(map(_devices, sessions))),
        *(
            (name, _distinct(s.get(name) for s in sessions))
            for name in ("machine", "tensorflow", "keras", "python", "commit")
            if any(s.get(name) for s in sessions)
        ),
    ]
    lines = [
        f"# {experiment.name}: report",
        "",
        *table(("", ""), rows),
        "",
        "Written by `python -m experiments.report` from what the runs logged. "
        "A commit with `+` had changes.",
    ]
    mixed = [
        name
        for name in ("machine", "commit")
        if len({s.get(name) for s in sessions}) > 1
    ]
    if mixed:
        lines += [
            "",
            f"Not all runs are of one {' and one '.join(mixed)}: compare their "
            "speeds with care.",
        ]
    return lines + _diverged(results) + _missing(experiment, arms, seeds)


def settings(arms: Arms) -> list[str]:
    """Shows in what the arms differ, and what all runs share."""
    begun = {arm: [r for r in runs if r.settings] for arm, runs in arms.items()}
    begun = {arm: runs for arm, runs in begun.items() if runs}
    names = {n for runs in begun.values() for run in runs for n in run.settings}
    shared, varied = [], {}
    for name in sorted(names.difference(SEED_SETTINGS)):
        values = {
            arm: {repr(run.settings.get(name)) for run in runs}
            for arm, runs in begun.items()
        }
        distinct = set().union(*values.values())
        if len(distinct) == 1:
            shared.append(f"{name} = {distinct.pop()}")
        else:
            varied[name] = values
    rows = [
        (arm, *(" / ".join(sorted(v[arm])) for v in varied.values()))
        for arm in begun
    ]
    lines = ["", "## Arms", ""]
    lines += table(("arm", *(f"`{name}`" for name in varied)), rows)
    mixed = [n for n, v in varied.items() if max(map(len, v.values())) > 1]
    if mixed:
        lines += ["", f"**Runs of one arm differ in {', '.join(mixed)}.**"]
    lines += ["", "<details><summary>What all runs share</summary>", "", "```"]
    return [*lines, *shared, "```", "", "</details>"]


def summary(numbers: Numbers) -> list[str]:
    """Tabulates mean and standard deviation over seeds, by arm."""
    names = number_names(numbers)
    rows = [
        (
            arm,
            len(seeds),
            *(
                _format_summary(n.get(name, math.nan) for n in seeds.values())
                for name in names
            ),
        )
        for arm, seeds in numbers.items()
    ]
    return [
        "",
        "## Exploratory: means over seeds",
        "",
        "Mean ± standard deviation over finished runs. Speeds are medians over "
        "log intervals, without the first of each process, which contains "
        "tracing; losses are means over the last tenth of the logged steps; "
        "gammas and scores are the last ones logged. A run that diverged has "
        "scores only, the worst of the sweep.",
        "",
        *table(("arm", "runs", *map(label, names)), rows),
    ]


def drift(arms: Arms, baseline: str) -> list[str]:
    """Tabulates how far an arm's losses are from the baseline's."""
    intro = f"Distance of d_loss from that of {baseline} with the same seed."
    if _same_function(arms):
        intro += (
            " The arms compute the same function: they start equal except for "
            "rounding, which training amplifies."
        )
    rows, repeats = [], []
    for arm, runs in arms.items():
        pairs = drifts(runs, arms.get(baseline, ()))
        if arm == baseline or not pairs:
            continue
        differing = [s for pair in pairs for s, value in pair.items() if value]
        end = np.median([np.median(last_tenth(pair)) for pair in pairs])
        distances = (
            np.median([next(iter(pair.values())) for pair in pairs]),
            end,
            max(max(pair.values()) for pair in pairs),
        )
        first = min(differing, default="equal throughout")
        rows.append((arm, len(pairs), first, *(f"{d:.3g}" for d in distances)))
        if arm == baseline + REPEAT_SUFFIX:
            repeats.append(
                f"The repeat {arm} has the settings of {baseline}: its drift "
                f"({end:.3g} at the end) is the noise floor."
                if differing
                else f"The repeat {arm} is bitwise equal to {baseline} at "
                "every logged step: the noise floor is zero, and all drift "
                "comes from the arms."
            )
    head = ("arm", "pairs", "first logged step that differs")
    head += ("median at the first logged", "median at the end", "largest")
    title = "## Exploratory: drift"
    return ["", title, "", intro, *repeats, "", *table(head, rows)]


def _same_function(arms):
    """Whether the arms differ in how 1x1 convolutions are computed only."""
    runs = [run.settings for results in arms.values() for run in results]
    varied = {
        name
        for settings in runs
        for name in settings
        if any(settings[name] != other.get(name) for other in runs)
    }
    varied = {name.split(".")[-1] for name in varied.difference(SEED_SETTINGS)}
    return varied <= {"pointwise", "fused_fgh"}


def _format_summary(values):
    mean, deviation, count = summarise(values)
    if not count:
        return NONE
    spread = NONE if math.isnan(deviation) else f"{deviation:.2g}"
    return f"{mean:.4g} ± {spread}"


def _diverged(results):
    lines = [
        f"- {run.arm}, seed {run.seed}: {run.diverged}"
        for run in results
        if run.diverged
    ]
    if not lines:
        return []
    return [
        "",
        "**Diverged (counted with the worst value of each score that any run "
        "of the sweep has logged; without speeds, losses and gammas):**",
        "",
        *lines,
    ]


def _missing(experiment, arms, seeds):
    """Lists the runs that are not finished, and their steps."""
    lines = []
    for arm, runs in arms.items():
        found = {run.seed: run for run in runs}
        for seed in seeds:
            run = found.get(seed)
            if run and (run.finished or run.diverged):
                continue
            where = "not begun"
            if run and run.settings:
                where = f"at step {run.step} of {run.num_steps}"
            lines.append(f"- {arm}, seed {seed}: {where}")
    absent = [arm for arm in experiment.arms if arm not in arms]
    if absent:
        lines.append(f"- Not in this sweep: {', '.join(absent)}")
    if not lines:
        return ["", "No run is missing."]
    intro = "Missing (left out of the tables; plots are of all runs):"
    return ["", f"**{intro}**", "", *lines]


def _flag_values(sessions, flag):
    """Returns a flag's values in all sessions, without the arm and the seed."""
    prefix = f"--{flag}="
    choices = []
    for session in sessions:
        values = [
            argument.removeprefix(prefix)
            for argument in session["command"]
            if argument.startswith(prefix)
        ]
        # The arm's file and the seed's binding are the last of their kind.
        choices.append(", ".join(f"`{value}`" for value in values[:-1]))
    return _distinct(choices)


def _devices(session):
    names = (name.removeprefix("/device:") for name in session["devices"])
    return ", ".join(names)


def _distinct(values):
    return "; ".join(map(str, dict.fromkeys(values))) or NONE
