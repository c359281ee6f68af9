"""Timings are fair, a tie is called a tie, and memory is that of tensors."""

import time

import numpy as np
import pytest
import tensorflow as tf

from sagan.profiling import memory
from sagan.profiling.timing import Timing, summarise, time_in_turn, verdicts


def test_timings_are_of_one_call_each_and_in_seconds():
    counts = dict.fromkeys("ab", 0)

    def make(name, seconds):
        def call():
            counts[name] += 1
            time.sleep(seconds)

        return call

    timings = time_in_turn({"a": make("a", 0.02), "b": make("b", 0.002)}, 5)
    assert timings["a"].samples == timings["b"].samples == 5
    assert 0.02 <= timings["a"].lower <= timings["a"].median
    assert 0.002 <= timings["b"].median < timings["a"].median
    assert counts["a"] == 2 + 5  # Warm-up, then one call a sample.
    assert counts["b"] > 2 + 5  # A sample lasts 10 ms.


def test_a_slow_function_gives_fewer_samples():
    calls = {
        "slow": lambda: time.sleep(0.03),
        "fast": lambda: time.sleep(0.003),
    }
    timings = time_in_turn(calls, 8, budget=0.1)
    assert timings["slow"].samples == 4
    assert timings["fast"].samples == 8
    assert time_in_turn(calls, 5, budget=0.0)["slow"].samples == 3


def test_summary_is_median_and_quartiles():
    assert summarise([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 4.0, 5)


def test_overlapping_intervals_are_a_tie():
    one, near, far = (
        Timing(1.0, 0.9, 1.1, 9),
        Timing(1.15, 1.05, 1.2, 9),
        Timing(2.0, 1.9, 2.1, 9),
    )
    found = verdicts({"one": one, "near": near, "far": far})
    assert found == {"one": "tie", "near": "tie", "far": "slower"}
    found = verdicts({"far": far, "one": one})
    assert found == {"far": "slower", "one": "fastest"}


def test_memory_growth_is_of_the_largest_sum_of_live_tensors():
    tensor = tf.ones([20_000_000])  # 80 MB

    @tf.function
    def call():
        return tf.reduce_sum(tf.sin(tensor) + tf.transpose(tf.cos(tensor)))

    for _ in range(2):  # The second time nothing is asked of the system.
        growth = memory.peak_growth(call)
        if growth is None:
            pytest.skip("neither TensorFlow nor this system counts memory")
        assert 80e6 <= growth < 4 * 80e6


def test_growth_of_the_process_sees_a_large_array():
    growth = memory._resident_growth(lambda: np.ones(40_000_000, np.uint8))
    if growth is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert 30_000_000 < growth < 100_000_000
