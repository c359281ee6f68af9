"""The first part of a report: what was run, where, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence

from experiments.experiment import Experiment
from experiments.results import Result

SEED_SETTINGS = ("train.seed", "make_dataset.seed")
NONE = "–"

Arms = Mapping[str, Sequence[Result]]


def header(experiment: Experiment, baseline: str, arms: Arms) -> list[str]:
    """States what was run, where, and what there is of it."""
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
        ("configs before the arm's", _command_line(sessions, "gin_config")),
        ("bindings", _command_line(sessions, "gin_bindings")),
        ("devices", _distinct(map(_devices, sessions))),
        *(
            (name, _distinct(s.get(name) for s in sessions))
            for name in ("machine", "tensorflow", "keras", "python", "commit")
            if any(s.get(name) for s in sessions)
        ),
    ]
    return [
        f"# {experiment.name}: report",
        "",
        *table(("", ""), rows),
        "",
        "Written by `python -m experiments.report` from what the runs logged. "
        "A commit with `+` had changes.",
        *_mixed(sessions),
        *_diverged(results),
        *_missing(experiment, arms, seeds),
    ]


def _mixed(sessions):
    """A warning where runs were not made alike."""
    names = [
        name
        for name in ("machine", "commit")
        if len({s.get(name) for s in sessions}) > 1
    ]
    if not names:
        return []
    return [
        "",
        f"Not all runs are of one {' and one '.join(names)}: compare their "
        "speeds with care.",
    ]


def settings(arms: Arms) -> list[str]:
    """Shows in what the arms differ, and what all runs share."""
    begun = {arm: [r for r in runs if r.settings] for arm, runs in arms.items()}
    begun = {arm: runs for arm, runs in begun.items() if runs}
    names = sorted({n for rs in begun.values() for r in rs for n in r.settings})
    names = [name for name in names if name not in SEED_SETTINGS]
    shared, varied, mixed = [], [], []
    for name in names:
        values = {
            arm: {repr(run.settings.get(name)) for run in runs}
            for arm, runs in begun.items()
        }
        if len(set().union(*values.values())) == 1:
            shared.append((name, *set().union(*values.values())))
            continue
        varied.append((name, values))
        if any(len(choices) > 1 for choices in values.values()):
            mixed.append(name)
    lines = ["", "## Arms", ""]
    lines += table(
        ("arm", *(f"`{name}`" for name, _ in varied)),
        [
            (arm, *(" / ".join(sorted(vals[arm])) for _, vals in varied))
            for arm in begun
        ],
    )
    if mixed:
        lines += ["", f"**Runs of one arm differ in {', '.join(mixed)}.**"]
    lines += ["", "<details><summary>What all runs share</summary>", "", "```"]
    lines += [f"{name} = {value}" for name, value in shared]
    return [*lines, "```", "", "</details>"]


def table(head: Sequence, rows: Iterable[Sequence]) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


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
    """Says which runs are not finished, and where they stand."""
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


def _command_line(sessions, flag):
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
