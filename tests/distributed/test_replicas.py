"""Several replicas take the steps of one, and hold the same state."""

import json
import pathlib
import subprocess
import sys

import pytest
import replica_checks


@pytest.fixture(scope="module")
def results():
    done = subprocess.run(
        [sys.executable, replica_checks.__file__],
        cwd=pathlib.Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["synchronized", "graph"])
def test_synchronized_replicas_take_the_steps_of_one(results, name):
    """Losses, gradient norms and spreads; weights, averages and moments."""
    assert results[name]["scalars"] < 1e-5
    assert results[name]["weights"] < 1e-5


@pytest.mark.parametrize("name", ["synchronized", "graph", "float16"])
def test_state_is_the_same_on_all_replicas(results, name):
    """Bitwise: weights, `u`, moving moments, averages and optimisers.

    In float16 with accumulation, and moments of each replica's own images.
    """
    assert results[name]["differing"] == []


def test_a_gradient_that_is_not_finite_on_one_replica_is_applied_on_none(
    results,
):
    result = results["float16"]
    assert result["finite"]
    assert result["losses"] == [True, False, True]
    assert result["updates"] == replica_checks.STEPS - 1
    assert result["scale"] == result["initial_scale"] / 2
