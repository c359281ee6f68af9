"""The second part of a report: means, differences, drift."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.comparison import (
    CONFIDENCE,
    Difference,
    paired_difference,
    reading,
    summarise,
)
from experiments.experiment import REPEAT_SUFFIX
from experiments.overview import NONE, SEED_SETTINGS, table
from experiments.results import GAMMA, NUMBERS, SCORE, Result, drift, last_tenth

LABELS = {
    "images_per_second": "images/s",
    "step_seconds": "step (s)",
    "peak_memory_gb": "peak memory (GB)",
}

ROUNDING_ONLY = (
    " The arms compute the same function: they start equal but for rounding, "
    "which training amplifies."
)

Arms = Mapping[str, Sequence[Result]]
Numbers = Mapping[str, Mapping[int, Mapping[str, float]]]


def summary(numbers: Numbers) -> list[str]:
    """Tabulates mean and standard deviation over seeds.

    Args:
        numbers: Of the finished runs, by arm and seed.
    """
    names = _number_names(numbers)
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
        "## Means over seeds",
        "",
        "Mean ± standard deviation over finished runs. Speeds are medians over "
        "log intervals, without the first of each process, which contains "
        "tracing; losses are means over the last tenth of the logged steps; "
        "gammas and scores are the last ones logged.",
        "",
        *table(("arm", "runs", *map(_label, names)), rows),
    ]


def differences(numbers: Numbers, baseline: str) -> list[str]:
    """Tabulates paired differences from the baseline, one table a number.

    Args:
        numbers: Of the finished runs, by arm and seed.
        baseline: The arm to compare with.
    """
    others = [arm for arm in numbers if arm != baseline]
    tables = []
    lines = [
        "",
        f"## Differences from {baseline}",
        "",
        f"Arm minus {baseline} of the same seed: mean with its {CONFIDENCE:.0%}"
        " confidence interval (Student's t). No correction for the number of "
        "comparisons: with no true difference at all, about one interval in "
        f"{1 / (1 - CONFIDENCE):.0f} would still exclude zero.",
    ]
    for name in _number_names(numbers):
        by_seed = {
            arm: {seed: n[name] for seed, n in seeds.items() if name in n}
            for arm, seeds in numbers.items()
        }
        base = by_seed.get(baseline, {})
        found = {arm: paired_difference(by_seed[arm], base) for arm in others}
        rows = [
            (arm, *_format_difference(difference, base))
            for arm, difference in found.items()
            if difference.count
        ]
        if rows:
            head = ("arm", "pairs", "difference", "interval", "%", "reading")
            tables += ["", f"### {_label(name)}", "", *table(head, rows)]
    if not tables:
        tables = ["", "No arm has a finished run to pair with the baseline's."]
    return lines + tables


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
        "## Drift",
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


def _number_names(numbers):
    """Names of all numbers, as `measure` orders them."""
    names = {n for seeds in numbers.values() for m in seeds.values() for n in m}
    parts = (GAMMA, SCORE)
    later = [sorted(n for n in names if part in n) for part in parts]
    return [n for n in NUMBERS if n in names] + sum(later, [])


def _format_summary(values):
    mean, deviation, count = summarise(values)
    if not count:
        return NONE
    spread = NONE if math.isnan(deviation) else f"{deviation:.2g}"
    return f"{mean:.4g} ± {spread}"


def _format_difference(difference: Difference, base):
    interval = percent = NONE
    if not math.isnan(difference.low):
        interval = f"{difference.low:+.3g} to {difference.high:+.3g}"
    # A percentage of what may be zero or negative says nothing.
    if all(value > 0 for value in base.values()):
        mean = summarise(base.values()).mean
        percent = f"{100 * difference.mean / mean:+.1f}"
    return (
        difference.count,
        f"{difference.mean:+.3g}",
        interval,
        percent,
        reading(difference, summarise(map(abs, base.values())).mean),
    )


def _label(name):
    return LABELS.get(name, name)
