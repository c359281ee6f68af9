"""What reports of sweeps may claim: tests, corrections, floors, divergence."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from experiments import comparison, differences
from experiments.experiment import Primary
from experiments.results import Result, measure_sweep, read_sweep

SEEDS = range(4)


def compare(*values):
    """The difference from a baseline that is 0 in every seed."""
    return comparison.paired_difference(
        dict(enumerate(values)), dict.fromkeys(range(9), 0.0)
    )


def by_arm(name="score/x_ema", **arms):
    """Numbers of a sweep from a list of values by seed for each arm."""
    return {
        arm: {seed: {name: v} for seed, v in enumerate(values) if v is not None}
        for arm, values in arms.items()
    }


def row(lines, arm):
    """The cells of an arm's row, without its name."""
    found = [line for line in lines if line.startswith(f"| {arm} |")]
    return found[-1].strip("| ").split(" | ")[1:]


def test_holm_equals_hand_values():
    # Sorted, 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 is not below 0.06.
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert comparison.holm([0.9, 0.4]) == pytest.approx([0.9, 0.8])
    assert comparison.holm([0.6, 0.7]) == [1.0, 1.0]
    assert comparison.holm([]) == []
    # What has no p-value is no comparison.
    adjusted = comparison.holm([math.nan, 0.02, 0.03])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.04])


def test_tables_of_equal_arms_seldom_show_a_difference():
    rng = np.random.default_rng(0)
    trials, uncorrected, shown = 500, 0, 0
    for values in rng.normal(size=(trials, 6, len(SEEDS))):
        base, *arms = (dict(enumerate(row)) for row in values)
        found = [comparison.paired_difference(arm, base) for arm in arms]
        p_values = [difference.p_value for difference in found]
        uncorrected += min(p_values) < 0.05
        words = map(comparison.reading, found, comparison.holm(p_values))
        shown += not {"higher", "lower"}.isdisjoint(words)
    # Within three standard errors of 5 %; the arms share a baseline.
    assert uncorrected / trials > 0.15
    assert shown / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_p_values_equal_a_hand_computation():
    found = compare(1.0, 2.0, 6.0)
    # Mean 3, deviation sqrt(7): t = 3 / sqrt(7 / 3). With 2 degrees of freedom
    # the two tails are 1 - t / sqrt(t^2 + 2).
    t = 3 / math.sqrt(7 / 3)
    assert found.p_value == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert compare(2.0, 2.0).p_value == 0.0
    assert compare(0.0, 0.0).p_value == 1.0
    assert math.isnan(compare(1.0).p_value)


@pytest.mark.parametrize(
    ("values", "p_value", "words"),
    [
        ((2.0, 2.1, 2.2), 0.049, "higher"),
        ((-2.0, -2.1, -2.2), 0.049, "lower"),
        ((2.0, 2.1, 2.2), 0.051, "cannot tell"),
        ((0.0, 0.0), 1.0, "equal"),
        ((2.0,), math.nan, "one pair: no test"),
        ((), math.nan, "no pair of runs"),
    ],
)
def test_readings(values, p_value, words):
    assert comparison.reading(compare(*values), p_value) == words


def test_rounding_is_no_difference():
    base = {0: 3.0, 1: 3.0}
    found = comparison.paired_difference({0: 3 + 4e-7, 1: 3 + 5e-7}, base)
    assert comparison.reading(found, 0.0) == "equal except for rounding"


def test_percentages_are_of_the_paired_seeds():
    numbers = by_arm(base=[10.0, 20.0, 90.0], arm=[11.0, 22.0, None])
    cells = row(differences.differences(numbers, "base"), "arm")
    # 1.5 of 15, not of 40.
    assert cells[:2] + cells[3:4] == ["2", "+1.5", "+10.0"]
    # A baseline that is not positive in a pair gives no percentage.
    numbers = by_arm(base=[-10.0, 20.0], arm=[11.0, 22.0])
    assert row(differences.differences(numbers, "base"), "arm")[3] == "–"


def test_the_table_prints_p_values_adjusted_for_its_arms():
    base = [1.0, 2.0, 3.0, 4.0]
    arms = {
        "a": [1.9, 3.1, 4.0, 5.2],
        "b": [0.0, 2.3, 2.8, 4.0],
        "c": [1.2, 2.1, 3.5, 4.2],
    }
    raw = {a: stats.ttest_rel(v, base).pvalue for a, v in arms.items()}
    assert raw["a"] < raw["c"] < 0.1 < raw["b"]
    lines = differences.differences(by_arm(base=base, **arms), "base")
    assert row(lines, "a")[4] == f"{3 * raw['a']:.2g}"
    assert row(lines, "c")[4] == f"{2 * raw['c']:.2g}"
    assert row(lines, "b")[4] == f"{raw['b']:.2g}"
    assert row(lines, "a")[-1] == "higher"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        # 90 % intervals by t = 2.92 of printed tables, deviation 0.01.
        ((0.02, 0.03, 0.01), "equivalent"),  # 0.02 ± 0.0169
        ((0.04, 0.03, 0.05), "cannot tell"),  # 0.04 ± 0.0169, p is 0.02 x 2
        ((0.09, 0.10, 0.08), "different"),
        ((-0.2, 0.3, 0.0), "cannot tell"),
        ((0.01,), "cannot tell"),
    ],
)
def test_equivalence_is_shown_not_assumed(values, words):
    found = compare(*values)
    p_value = comparison.holm([found.p_value, 1.0, 1.0])[0]
    assert comparison.equivalence(found, p_value, 0.05) == words


def test_a_primary_score_with_a_bound_asks_for_equivalence():
    base = [0.5, 0.6, 0.7]
    numbers = by_arm(base=base, arm=[0.52, 0.63, 0.71])
    lines = differences.primary_score(
        numbers, "base", Primary("score/x_ema", 0.05)
    )
    text = "\n".join(lines)
    assert "## Primary score: score/x_ema" in text
    assert "within ±0.05" in text
    assert "90% interval" in text
    assert row(lines, "arm")[2] == "+0.00314 to +0.0369"
    assert row(lines, "arm")[-1] == "equivalent"
    assert "less than twice the bound" not in text
    text = "\n".join(
        differences.primary_score(numbers, "base", Primary("score/x_ema", 0.5))
    )
    assert "baseline's mean, 0.6, is less than twice the bound" in text
    text = "\n".join(
        differences.primary_score(numbers, "base", Primary("d_loss", None))
    )
    assert "No pair of runs has `d_loss` yet." in text


def test_the_detectable_difference_is_found_in_80_percent_of_sweeps():
    rng = np.random.default_rng(0)
    count, comparisons, trials = 6, 3, 4000
    unit = compare(*range(count))._replace(deviation=1.0)
    effect = comparison.smallest_difference(unit, comparisons)
    values = rng.normal(effect, 1.0, size=(trials, count))
    p_values = stats.ttest_1samp(values, 0.0, axis=1).pvalue
    power = np.mean(p_values < 0.05 / comparisons)
    assert power == pytest.approx(0.8, abs=0.02)
    assert comparison.smallest_difference(unit, 9) > effect
    assert math.isnan(comparison.smallest_difference(compare(1.0), 1))


def test_the_repeat_is_the_noise_floor_for_speeds_too():
    speeds = {
        "conv2d": [400.0, 400.0, 400.0],
        "conv2d_again": [404.3, 407.7, 390.0],
        "dense": [406.0, 410.0, 414.0],
        "slow": [150.0, 160.0, 170.0],
    }
    numbers = by_arm("images_per_second", **speeds)
    lines = differences.differences(numbers, "conv2d")
    # Root mean square 7.70, t of 3 degrees of freedom 3.182: 14.1.
    text = "\n".join(lines)
    assert "Noise floor: ±14.1. conv2d_again differs from conv2d by +0.667" in (
        text
    )
    assert row(lines, "dense")[-1].endswith("; within the noise floor")
    assert row(lines, "slow")[-1] == "lower"
    assert row(lines, "conv2d_again")[-1] == "cannot tell; a repeat"
    # The repeat may itself be the baseline, or neither.
    for baseline in ("conv2d_again", "slow"):
        assert "conv2d_again differs from conv2d by +0.667" in "\n".join(
            differences.differences(numbers, baseline)
        )
    del numbers["conv2d_again"]
    text = "\n".join(differences.differences(numbers, "conv2d"))
    assert "No noise floor: no arm is repeated" in text
    assert "within" not in text


def test_a_repeat_that_differs_throughout_is_the_floor_itself():
    found = compare(*[5.0, 5.1] * 4)
    assert comparison.noise_floor(found) == pytest.approx(5.05)


def make_result(arm, seed, score=None, end="", last=10, **values):
    lines = [{"step": 5, "d_loss": 1.0, "score/x_ema": 0.2, "score/fid_ema": 9}]
    lines.append({"step": last, "images_per_second": 100.0, **values})
    if score is not None:
        lines[-1]["score/x_ema"] = score
    settings = {"train.num_steps": 10}
    return Result(arm, seed, None, lines, [], settings, end)


def test_a_diverged_run_counts_as_the_worst():
    error = "Error: Step 8: d_loss is nan. The run stops; it had not saved."
    arms = {
        "base": [make_result("base", 0, 0.5), make_result("base", 1, 0.1)],
        "arm": [
            make_result("arm", 0, 0.9, error, last=7),
            make_result("arm", 1, 0.9, "Killed", last=7),
        ],
    }
    first, second = arms["arm"]
    assert first.diverged == "Step 8: d_loss is nan"
    assert second.diverged is None
    numbers = measure_sweep(arms)
    # The least that any run has logged, and the largest distance; no speeds.
    # The unfinished run stays out.
    assert numbers["arm"] == {0: {"score/x_ema": 0.1, "score/fid_ema": 9}}
    assert numbers["base"][0]["images_per_second"] == 100.0
    cells = row(
        differences.primary_score(
            numbers, "base", Primary("score/x_ema", None)
        ),
        "arm",
    )
    assert cells[:2] == ["1", "-0.4"]


@pytest.mark.parametrize(
    ("log", "diverged"),
    [
        ("Step 2: d_loss is nan. The state of step 1 is restored", None),
        (
            "Error: Step 2: g_loss is inf. The run stops",
            "Step 2: g_loss is inf",
        ),
        ("Error: train.num_steps is 0. Choose more", None),
        (
            "Error: Step 2: d_loss is -inf, g_loss is nan. The run stops; its "
            "last good checkpoint is x.y",
            "Step 2: d_loss is -inf, g_loss is nan",
        ),
        # Started again since.
        (
            "Error: Step 2: g_loss is inf. The run stops\nStarting at step 1",
            None,
        ),
    ],
)
def test_the_log_says_whether_a_run_diverged(tmp_path, log, diverged):
    folder = tmp_path / "arm" / "seed_0"
    folder.mkdir(parents=True)
    assert read_sweep(tmp_path)[0].diverged is None
    (folder / "train.log").write_text(f"{'x' * 20_000}\n{log}\n")
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 1}))
    assert read_sweep(tmp_path)[0].diverged == diverged
