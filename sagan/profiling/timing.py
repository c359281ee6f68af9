"""Fair timing: candidates in turn, medians with quartiles, ties."""

import dataclasses
import math
import time
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import tensorflow as tf

# A sample lasts at least so long that the clock and the wait at its end do not
# matter.
_SHORTEST_SAMPLE = 10e-3
# Quartiles need as many.
_FEWEST_SAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one call: median and quartiles of `samples` samples."""

    median: float
    lower: float
    upper: float
    samples: int

    def overlaps(self, other: "Timing") -> bool:
        """Returns whether the intervals between the quartiles overlap."""
        return self.lower <= other.upper and other.lower <= self.upper


def time_in_turn(
    candidates: dict[Hashable, Callable[[], object]],
    samples: int = 15,
    seed: int = 0,
    budget: float = math.inf,
) -> dict[Hashable, Timing]:
    """Times functions against each other.

    All are called before any is timed. Then each gives one sample a round, in
    a random order, so that a slow phase of the machine falls on all of them.

    Args:
        candidates: Functions without arguments, by name.
        samples: Number of rounds.
        seed: Seed of the orders.
        budget: Seconds of samples after which a slow function, once it has
            given three, sits out the remaining rounds.

    Returns:
        A `Timing` for each name, in seconds a call.
    """
    calls = {name: _calls_for(call) for name, call in candidates.items()}
    seconds = {name: [] for name in candidates}
    order = np.random.default_rng(seed)
    names = list(candidates)
    for _ in range(samples):
        for name in (names[i] for i in order.permutation(len(names))):
            spent = calls[name] * sum(seconds[name])
            if len(seconds[name]) < _FEWEST_SAMPLES or spent < budget:
                seconds[name].append(_sample(candidates[name], calls[name]))
    return {name: summarise(values) for name, values in seconds.items()}


def summarise(seconds: Sequence[float]) -> Timing:
    """Returns the `Timing` of samples in seconds."""
    lower, median, upper = np.percentile(seconds, [25, 50, 75])
    return Timing(float(median), float(lower), float(upper), len(seconds))


def verdicts(timings: dict[str, Timing]) -> dict[str, str]:
    """Returns by name "fastest", "tie" or "slower".

    Those that cannot be told apart from the fastest tie with it, and it with
    them.
    """
    best = min(timings, key=lambda name: timings[name].median)
    tied = [n for n, t in timings.items() if t.overlaps(timings[best])]
    top = "tie" if len(tied) > 1 else "fastest"
    return {name: top if name in tied else "slower" for name in timings}


def _calls_for(call):
    """Warms up and returns how many calls make one sample."""
    _sample(call, 1)
    calls = 1
    while calls * (once := _sample(call, calls)) < _SHORTEST_SAMPLE / 2:
        calls *= 2
    return max(1, math.ceil(_SHORTEST_SAMPLE / once))


def _sample(call, calls):
    started = time.perf_counter()
    for _ in range(calls):
        call()
    wait()
    return (time.perf_counter() - started) / calls


def wait() -> None:
    """Waits until a GPU has computed all that it was asked for.

    It computes asynchronously; a CPU does not.
    """
    if tf.config.list_logical_devices("GPU"):
        tf.test.experimental.sync_devices()
