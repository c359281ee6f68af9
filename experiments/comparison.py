"""Means over seeds, and paired differences with their uncertainty."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
# Differences of less than this part of the values are those of float32.
ROUNDING = 1e-6


class Summary(NamedTuple):
    """`deviation` is that of the sample (n - 1), NaN for one value."""

    mean: float
    deviation: float
    count: int


class Difference(NamedTuple):
    """Mean of paired differences; `low` and `high` are NaN for one pair."""

    mean: float
    low: float
    high: float
    count: int


def summarise(values: Iterable[float]) -> Summary:
    """Returns mean and standard deviation of the values that are finite."""
    values = [value for value in values if math.isfinite(value)]
    count = len(values)
    return Summary(
        float(np.mean(values)) if count else math.nan,
        float(np.std(values, ddof=1)) if count > 1 else math.nan,
        count,
    )


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> Difference:
    """Compares two arms seed by seed.

    Args:
        values: A measurement of an arm by seed.
        baseline: The same of the baseline; seeds that only one has are left
            out.

    Returns:
        The mean of `values - baseline`, and its confidence interval under
        Student's t distribution.
    """
    mean, deviation, count = summarise(
        values[seed] - baseline[seed]
        for seed in sorted(values.keys() & baseline.keys())
    )
    if count < 2:
        return Difference(mean, math.nan, math.nan, count)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)
    margin = float(quantile) * deviation / math.sqrt(count)
    return Difference(mean, mean - margin, mean + margin, count)


def reading(difference: Difference, size: float = 0.0) -> str:
    """Says in words what a difference shows.

    Args:
        difference: What was found.
        size: Of the values that were compared.
    """
    if not difference.count:
        return "no pair of runs"
    if difference.count == 1:
        return "one pair: no interval"
    if difference.low <= 0.0 <= difference.high:
        return "no difference shown"
    if abs(difference.mean) < ROUNDING * size:
        return "equal but for rounding"
    return "higher" if difference.mean > 0 else "lower"
