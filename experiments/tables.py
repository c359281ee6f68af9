"""The last part of a report: means over seeds, and drift."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.comparison import summarise
from experiments.differences import Numbers, label, number_names
from experiments.experiment import REPEAT_SUFFIX
from experiments.overview import NONE, SEED_SETTINGS, table
from experiments.results import Result, drift, last_tenth

ROUNDING_ONLY = (
    " The arms compute the same function: they start equal but for rounding, "
    "which training amplifies."
)

Arms = Mapping[str, Sequence[Result]]


def summary(numbers: Numbers) -> list[str]:
    """Tabulates mean and standard deviation over seeds.

    Args:
        numbers: Of the runs, by arm and seed.
    """
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


def drifts(arms: Arms, baseline: str) -> list[str]:
    """Tabulates how far the losses of an arm and the baseline are apart."""
    rows, repeats = [], []
    for arm, runs in arms.items():
        pairs = [
            series
            for run in runs
            for other in arms.get(baseline, ())
            if run.seed == other.seed and (series := drift(run, other))
        ]
        if arm == baseline or not pairs:
            continue
        differing = [s for pair in pairs for s, value in pair.items() if value]
        ends = [np.median(last_tenth(pair)) for pair in pairs]
        first = min(differing) if differing else "equal throughout"
        distances = (
            np.median([next(iter(pair.values())) for pair in pairs]),
            np.median(ends),
            max(max(pair.values()) for pair in pairs),
        )
        texts = (f"{distance:.3g}" for distance in distances)
        rows.append((arm, len(pairs), first, *texts))
        if arm == baseline + REPEAT_SUFFIX:
            repeats.append(_noise_floor(arm, baseline, differing, ends))
    head = ("arm", "pairs", "first logged step that differs")
    head += ("median at the first logged", "median at the end", "largest")
    return [
        "",
        "## Exploratory: drift",
        "",
        f"Distance of d_loss from that of {baseline} with the same seed."
        + (ROUNDING_ONLY if _same_function(arms) else ""),
        *repeats,
        "",
        *table(head, rows),
    ]


def _same_function(arms):
    """Whether the arms differ in how 1x1 convolutions are computed only."""
    runs = [run.settings for results in arms.values() for run in results]
    varied = {
        name
        for settings in runs
        for name in settings
        if any(settings[name] != other.get(name) for other in runs)
    }
    parameters = {
        name.rpartition(".")[2] for name in varied.difference(SEED_SETTINGS)
    }
    return parameters <= {"pointwise", "fused_fgh"}


def _noise_floor(arm, baseline, differing, ends):
    if not differing:
        return (
            f"The repeat {arm} equals {baseline} to the bit at every logged "
            "step: the noise floor is zero, and all drift comes from the arms."
        )
    return (
        f"The repeat {arm} has the settings of {baseline}: its drift "
        f"({np.median(ends):.3g} at the end) is the noise floor."
    )


def _format_summary(values):
    mean, deviation, count = summarise(values)
    if not count:
        return NONE
    spread = NONE if math.isnan(deviation) else f"{deviation:.2g}"
    return f"{mean:.4g} ± {spread}"
