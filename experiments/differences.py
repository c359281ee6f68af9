"""Report: the primary score, and paired differences of arms."""

import math

from experiments.comparison import (
    CONFIDENCE,
    LEVEL,
    Difference,
    equivalence,
    holm,
    noise_floor,
    paired_difference,
    reading,
    smallest_difference,
    summarise,
)
from experiments.experiment import REPEAT_SUFFIX, Primary
from experiments.results import Numbers, label, number_names
from experiments.tables import NONE, table

WITHIN = "within the noise floor"


def primary_score(
    numbers: Numbers, baseline: str, primary: Primary
) -> list[str]:
    """States what was decided on before the sweep, and what came out.

    Args:
        numbers: Numbers of the runs, by arm and seed.
        baseline: The arm to compare with.
        primary: The number, and the bound of equivalence if there is one.
    """
    name, bound = primary
    question = "Do the arms differ from it?"
    if bound is not None:
        question = (
            f"Are they equivalent to it: is the {1 - 2 * LEVEL:.0%} confidence "
            f"interval of the difference within ±{bound:g} (two one-sided "
            f"tests at {LEVEL:.0%} for each arm)?"
        )
    found = _table(numbers, baseline, name, bound)
    return [
        "",
        f"## Primary score: {label(name)}",
        "",
        f"Named before the sweep (`primary.txt`); arms against {baseline}. "
        f"{question} Nothing else in this report decides.",
        *(found or ["", f"No pair of runs has `{name}` yet."]),
        *_warn_of_bound(numbers.get(baseline, {}), primary),
    ]


def differences(
    numbers: Numbers, baseline: str, primary: str | None = None
) -> list[str]:
    """Tabulates paired differences from the baseline, one table a number.

    Args:
        numbers: Numbers of the runs, by arm and seed.
        baseline: The arm to compare with.
        primary: A number to leave out, as it is reported separately.
    """
    tables = []
    for name in number_names(numbers):
        found = _table(numbers, baseline, name)
        if found and name != primary:
            tables += ["", f"### {label(name)}", *found]
    if not tables:
        tables = ["", "No arm has a run to pair with the baseline's."]
    return ["", f"## Exploratory: differences from {baseline}", *tables]


def how_to_read(baseline: str) -> list[str]:
    """Explains the columns of the tables of differences."""
    return [
        "",
        f"How to read the tables of differences: arm minus {baseline} of the "
        "same seed, mean with confidence interval (Student's t, each by "
        "itself) and in per cent of the baseline in these pairs. "
        "`p` is of a paired t-test, adjusted by Holm's method for the arms of "
        "the table, but not for the number of tables; `higher` and `lower` are "
        f"said only for p < {LEVEL:g}. `detectable` is the smallest true "
        "difference that this many seeds find in 80 % of sweeps, at the level "
        "of Holm's first step and the observed spread: `cannot tell` leaves "
        "room for any smaller one. The noise floor is the mean difference that "
        "two arms of equal settings exceed in 5 % of sweeps, going by the "
        "repeated arm, or that of the repeat itself where it is larger.",
    ]


def find_repeats(arms) -> list[tuple[str, str]]:
    """Returns the pairs of an arm's repeat and the arm itself."""
    pairs = [(arm, arm.removesuffix(REPEAT_SUFFIX)) for arm in arms]
    return [(a, b) for a, b in pairs if a != b and b in arms]


def _warn_of_bound(runs, primary):
    """A warning where a bound is too wide for what it bounds."""
    name, bound = primary
    mean = summarise(n.get(name, math.nan) for n in runs.values())[0]
    if bound is None or not abs(mean) < 2 * bound:
        return []
    return [
        "",
        f"**The baseline's mean, {mean:.3g}, is less than twice the bound: "
        "arms of very different quality may pass for equivalent.**",
    ]


def _table(numbers, baseline, name, bound=None):
    """The noise floor and the differences of one number, [] without any."""
    by_seed = {
        arm: {seed: n[name] for seed, n in seeds.items() if name in n}
        for arm, seeds in numbers.items()
    }
    base = by_seed.get(baseline, {})
    found = {
        arm: paired_difference(values, base)
        for arm, values in by_seed.items()
        if arm != baseline
    }
    found = {arm: d for arm, d in found.items() if d.count}
    if not found:
        return []
    floor, sentence = _describe_floor(by_seed)
    p_values = holm([difference.p_value for difference in found.values()])
    tests = max(1, sum(not math.isnan(p) for p in p_values))
    rows = []
    for (arm, difference), p_value in zip(found.items(), p_values, strict=True):
        words = reading(difference, p_value)
        if bound is not None:
            words = equivalence(difference, p_value, bound)
        repeat = arm.removesuffix(REPEAT_SUFFIX)
        if repeat == baseline.removesuffix(REPEAT_SUFFIX):
            words += "; a repeat"
        elif floor and 0 < abs(difference.mean) <= floor:
            words += f"; {WITHIN}"
        detectable = smallest_difference(difference, tests)
        cells = _format(difference, p_value, detectable, bound)
        rows.append((arm, *cells, words))
    confidence = CONFIDENCE if bound is None else 1 - 2 * LEVEL
    head = ("arm", "pairs", "difference", f"{confidence:.0%} interval", "%")
    head += ("p", "detectable", "reading")
    return ["", sentence, "", *table(head, rows)]


def _describe_floor(by_seed):
    """The noise floor of a number, None without a repeated arm, and a text."""
    for repeat, arm in find_repeats(by_seed):
        difference = paired_difference(by_seed[repeat], by_seed[arm])
        if difference.count:
            floor = noise_floor(difference)
            text = f"Noise floor: ±{floor:.3g}. {repeat} "
            if not floor:
                return floor, f"{text}equals {arm} in each pair."
            return floor, (
                f"{text}differs from {arm} by {difference.mean:+.3g} on "
                f"average over pairs ({difference.count}), and by "
                f"{difference.square:.3g} in a single one (root mean square)."
            )
    return None, "No noise floor: no arm is repeated in this sweep."


def _format(difference: Difference, p_value, detectable, bound):
    interval = percent = NONE
    confidence = CONFIDENCE if bound is None else 1 - 2 * LEVEL
    low, high = difference.interval(confidence)
    if not math.isnan(low):
        interval = f"{low:+.3g} to {high:+.3g}"
    # A percentage of what may be zero or negative says nothing.
    if difference.positive:
        percent = f"{100 * difference.mean / difference.baseline:+.1f}"
    return (
        difference.count,
        f"{difference.mean:+.3g}",
        interval,
        percent,
        NONE if math.isnan(p_value) else f"{p_value:.2g}",
        NONE if math.isnan(detectable) else f"{detectable:.3g}",
    )
