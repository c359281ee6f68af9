"""Statistics of paired differences between arms."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

CONFIDENCE = 0.95
LEVEL = 0.05
POWER = 0.8
# Smaller relative differences are rounding of float32.
ROUNDING = 1e-6


class Difference(NamedTuple):
    """Paired differences of an arm from the baseline.

    Attributes:
        mean: Mean of the differences.
        deviation: Their sample deviation (n - 1), NaN for one pair.
        count: Number of pairs.
        square: Root mean square of the differences.
        baseline: Mean of the baseline in these pairs.
        positive: Whether the baseline is positive in all of them.
        p_value: P-value of a paired t-test, NaN for one pair.
    """

    mean: float
    deviation: float
    count: int
    square: float
    baseline: float
    positive: bool
    p_value: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Returns the ends of Student's t interval, NaN for one pair."""
        if self.count < 2:
            return math.nan, math.nan
        quantile = stats.t.ppf((1 + confidence) / 2, self.count - 1)
        margin = float(quantile) * self.deviation / math.sqrt(self.count)
        return self.mean - margin, self.mean + margin


def summarise(values: Iterable[float]) -> tuple[float, float, int]:
    """Returns mean, sample deviation and number of the finite values."""
    values = [value for value in values if math.isfinite(value)]
    count = len(values)
    mean = float(np.mean(values)) if count else math.nan
    deviation = float(np.std(values, ddof=1)) if count > 1 else math.nan
    return mean, deviation, count


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Difference:
    """Compares two arms in the seeds for which both have a finite value."""
    pairs = [
        (values[seed], baseline[seed])
        for seed in sorted(values.keys() & baseline.keys())
        if math.isfinite(values[seed] - baseline[seed])
    ]
    ours, base = np.reshape(pairs, [-1, 2]).astype(float).T
    mean, deviation, count = summarise(ours - base)
    p_value = math.nan
    if count > 1:
        # Without any spread, the statistic is infinite or, of equals, 0 / 0.
        p_value = 0.0 if mean else 1.0
        if deviation > 1e-12 * abs(mean):
            p_value = float(stats.ttest_rel(ours, base).pvalue)
    return Difference(
        mean,
        deviation,
        count,
        float(np.sqrt(np.mean((ours - base) ** 2))) if count else math.nan,
        summarise(base)[0],
        bool(np.all(base > 0)),
        p_value,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts the p-values of a family of tests; NaNs do not count.

    The chance that any is below a level although no arm differs is then at
    most that level.

    Source: Holm (1979), Scandinavian Journal of Statistics 6.
    """
    adjusted = [math.nan] * len(p_values)
    order = [i for i in np.argsort(p_values) if not math.isnan(p_values[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def noise_floor(repeat: Difference) -> float:
    """Returns the mean difference up to which arms may be of equal settings.

    That is what chance alone explains in 95 % of sweeps, going by a repeated
    arm (Student's t interval around zero, as repeats do not differ in truth),
    or what the repeat itself differs by, if that is more.
    """
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, repeat.count)
    chance = float(quantile) * repeat.square / math.sqrt(repeat.count)
    return max(abs(repeat.mean), chance)


def smallest_difference(difference: Difference, comparisons: int) -> float:
    """Returns the difference that a paired t-test finds with a power of 80 %.

    Args:
        difference: Its standard deviation is taken for the true one.
        comparisons: Comparisons in the table; the level is that of Holm's
            first step.

    Returns:
        The difference, from the noncentral t distribution; NaN for one pair.
    """
    count = difference.count
    if count < 2:
        return math.nan
    critical = stats.t.isf(LEVEL / comparisons / 2, count - 1)

    def lacking(noncentrality):
        # The other tail, of the wrong sign, is negligible at this power.
        return stats.nct.sf(critical, count - 1, noncentrality) - POWER

    noncentrality = optimize.brentq(lacking, 0.0, 10.0 * critical)
    return noncentrality * difference.deviation / math.sqrt(count)


def reading(difference: Difference, p_value: float) -> str:
    """Puts into words what a difference shows.

    Args:
        difference: What was found.
        p_value: Its p-value, adjusted for the number of comparisons.
    """
    if difference.count < 2:
        return "one pair: no test" if difference.count else "no pair of runs"
    if not difference.square:
        return "equal"
    if difference.square < ROUNDING * abs(difference.baseline):
        return "equal except for rounding"
    if p_value < LEVEL:
        return "higher" if difference.mean > 0 else "lower"
    return "cannot tell"


def equivalence(difference: Difference, p_value: float, bound: float) -> str:
    """Says whether two arms are equivalent, by two one-sided tests at 5 %.

    Args:
        difference: What was found.
        p_value: Its p-value, adjusted for the number of comparisons.
        bound: Differences smaller than this do not matter.

    Source: Schuirmann (1987), Journal of Pharmacokinetics and
    Biopharmaceutics 15.
    """
    low, high = difference.interval(1 - 2 * LEVEL)
    if -bound < low and high < bound:
        return "equivalent"
    return "different" if p_value < LEVEL else "cannot tell"
