"""Reports: numbers of a made-up sweep, and what an unfinished one lacks."""

import csv
import json
import math

import numpy as np
import pytest
from PIL import Image

from experiments import comparison, differences, results, tables
from experiments.experiment import find_experiment
from experiments.report import write_report

STEPS = 40
EVERY = 2
# Student's t at 97.5 %, from printed tables, by degrees of freedom.
QUANTILES = {1: 12.706, 2: 4.303, 4: 2.776}
# Added to the speed, by seed; the mean of the differences is 4.
FASTER = (1.0, 4.0, 7.0)


def make_run(sweep, arm, seed, step=STEPS, speed=100.0, d_loss=0.0, score=None):
    """Writes a run's folder as training does, `step` steps long."""
    folder = sweep / arm / f"seed_{seed}"
    (folder / "samples").mkdir(parents=True)
    lines = []
    for k in range(EVERY, step + 1, EVERY):
        line = {
            "step": k,
            "d_loss": 1.0 + seed + d_loss * k,
            "g_loss": None if k == STEPS else float(k),
            # The first interval has tracing in it; one other is disturbed.
            "images_per_second": {EVERY: 3.0, 10: 50.0}.get(k, speed + seed),
            "step_seconds": 1.0 / (speed + seed),
            "peak_memory_gb": 1.0 + k / 1000,
            "generator/gamma/attention_16": k / 100,
        }
        if score and k % 20 == 0:
            line["score/agreement_ema"] = score * k / STEPS
        lines.append(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))
    session = {
        "step": 0,
        "command": [
            "train.py",
            "--gin_config=experiments/pointwise/base.gin",
            f"--gin_config=experiments/pointwise/arms/{arm}.gin",
            "--gin_bindings=NUM_STEPS=40",
            f"--gin_bindings=SEED = {seed}",
        ],
        "commit": "0123abc+",
        "python": "3.12.1",
        "tensorflow": "2.21.0",
        "keras": "3.15.0",
        "devices": ["/device:CPU:0"],
    }
    (folder / "sessions.jsonl").write_text(json.dumps(session) + "\n")
    pointwise = arm.removesuffix("_again")
    (folder / "operative_config.gin").write_text(
        f"train.num_steps = {STEPS}\ntrain.seed = {seed}\n"
        f"build_generator.pointwise = '{pointwise}'\n"
    )
    grid = Image.new("RGB", (500, 250), "green")
    grid.save(folder / "samples" / f"step_{step:08d}_ema.png")


@pytest.fixture
def sweep(tmp_path):
    """A finished sweep: matmul is faster, and ever further from conv2d."""
    folder = tmp_path / "sweep"
    for seed, faster in enumerate(FASTER):
        make_run(folder, "conv2d", seed, score=0.4)
        make_run(folder, "conv2d_again", seed)
        make_run(
            folder, "matmul", seed, speed=100.0 + faster, d_loss=0.01, score=0.5
        )
    return folder


def report(sweep, out, baseline="conv2d"):
    """Writes a report and returns its text and the rows of its CSV."""
    out.mkdir()
    experiment = find_experiment("pointwise")
    write_report(experiment, baseline, results.read_sweep(sweep), out)
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return (out / "report.md").read_text(), rows


def section(text, title):
    return text.split(f"## {title}\n", 1)[1].split("\n#", 1)[0]


def test_means_and_deviations_equal_numpys():
    values = [1.0, 2.0, 4.0, math.nan]
    mean, deviation, count = comparison.summarise(values)
    assert count == 3
    assert mean == pytest.approx(7 / 3)
    assert deviation == pytest.approx(np.std([1, 2, 4], ddof=1))
    mean, deviation, count = comparison.summarise([5.0])
    assert (mean, count) == (5.0, 1)
    assert math.isnan(deviation)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_intervals_equal_those_of_printed_tables(count):
    ours = dict(enumerate([3.0, 5.0, 4.0, 8.0, 2.0][:count]))
    base = dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0]))
    pairs = np.array([ours[seed] - base[seed] for seed in ours])
    margin = QUANTILES[count - 1] * pairs.std(ddof=1) / np.sqrt(count)
    found = comparison.paired_difference(ours, base)
    assert found.count == count
    assert found.mean == pytest.approx(pairs.mean())
    low, high = found.interval()
    assert low == pytest.approx(pairs.mean() - margin, rel=1e-3)
    assert high == pytest.approx(pairs.mean() + margin, rel=1e-3)


def test_numbers_of_a_run(sweep):
    run = results.read_sweep(sweep)[-1]
    assert (run.arm, run.seed, run.step, run.finished) == (
        "matmul",
        2,
        STEPS,
        True,
    )
    numbers = results.measure(run)
    # Without the first interval; the median passes over the disturbed one.
    assert numbers["images_per_second"] == 109.0
    assert numbers["peak_memory_gb"] == pytest.approx(1.04)
    # A tenth of 20 lines are 2; the last g_loss was not finite.
    assert numbers["d_loss"] == pytest.approx(3.0 + 0.01 * (38 + 40) / 2)
    assert numbers["g_loss"] == 38.0
    assert numbers["generator/gamma/attention_16"] == 0.4
    assert numbers["score/agreement_ema"] == 0.5


def test_first_interval_of_every_process_is_left_out(sweep):
    folder = sweep / "conv2d" / "seed_0"
    lines = [
        {"step": step, "images_per_second": value}
        for step, value in ((2, 1.0), (4, 90.0), (6, 2.0), (8, 110.0))
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with (folder / "sessions.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5}) + "\n")
    numbers = results.measure(results.read_sweep(sweep)[0])
    assert numbers["images_per_second"] == 100.0
    assert math.isnan(numbers["d_loss"])


def test_report_of_a_finished_sweep(sweep, tmp_path):
    text, rows = report(sweep, tmp_path / "out")
    head = text.split("## Arms")[0]
    for cell in (
        "| runs finished | 9 of 9 |",
        "| seeds | 0, 1, 2 |",
        "| steps | 40 |",
        "| configs before the arm's | `experiments/pointwise/base.gin` |",
        "| bindings | `NUM_STEPS=40` |",
        "| devices | CPU:0 |",
        "| tensorflow | 2.21.0 |",
        "| commit | 0123abc+ |",
        "- Not in this sweep: batched_einsum, dense,",
    ):
        assert cell in head
    assert "| matmul | 'matmul' |" in section(text, "Arms")
    # Seeds add 0, 1 and 2; differences 1, 4 and 7 have deviation 3.
    means = section(text, "Exploratory: means over seeds")
    assert "| conv2d | 3 | 101 ± 1 |" in means
    assert "| matmul | 3 | 105 ± 4 |" in means
    margin = QUANTILES[2] * 3 / math.sqrt(3)
    speed = section(text, "Primary score: images/s")
    interval = f"{4 - margin:+.3g} to {4 + margin:+.3g}"
    # t is 4 / sqrt(3); two comparisons.
    p_value = 2 * (1 - (t := 4 / math.sqrt(3)) / math.sqrt(t**2 + 2))
    row = f"| matmul | 3 | +4 | {interval} | +4.0 | {p_value:.2g} | "
    assert row in speed
    assert "| cannot tell |" in speed
    # It is said first, and once; all else is exploratory.
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings[0] == "## Primary score: images/s"
    assert headings[1] == "## Arms"
    assert all("Exploratory:" in line for line in headings[2:])
    assert "### images/s" not in text
    # d_loss differs by 0.39 in every seed, and the scores by 0.1.
    row = "| matmul | 3 | +0.39 | +0.39 to +0.39 | +19.5 | 0 | "
    assert row in section(text, "d_loss")
    assert "| higher |" in section(text, "d_loss")
    assert "| matmul | 3 | +0.1 |" in section(text, "score/agreement_ema")
    assert "conv2d_again" not in section(text, "score/agreement_ema")
    assert len(rows) == 9
    assert rows[-1]["arm"] == "matmul"
    assert float(rows[-1]["images_per_second"]) == 109.0
    assert rows[3]["score/agreement_ema"] == ""


def test_drift_is_set_beside_that_of_a_repeat(sweep, tmp_path):
    text, _ = report(sweep, tmp_path / "out")
    drift = section(text, "Exploratory: drift")
    assert "conv2d_again is bitwise equal to conv2d at every logged" in drift
    assert "| conv2d_again | 3 | equal throughout | 0 | 0 | 0 |" in drift
    assert "| matmul | 3 | 2 | 0.02 | 0.39 | 0.4 |" in drift
    assert "start equal except for rounding" in drift
    config = sweep / "matmul" / "seed_0" / "operative_config.gin"
    config.write_text(config.read_text() + "\ntrain.d_steps = 3\n")
    text, _ = report(sweep, tmp_path / "other")
    assert "rounding" not in section(text, "Exploratory: drift")
    run, base = (results.read_sweep(sweep)[i] for i in (-1, 2))
    [distances] = results.drifts([run], [base])
    assert distances == pytest.approx(
        {k: 0.01 * k for k in range(2, STEPS + 1, 2)}
    )


def test_files_are_small_and_show_each_arm(sweep, tmp_path):
    out = tmp_path / "out"
    report(sweep, out)
    names = ("curves.png", "drift.png", "samples.png")
    assert {path.name for path in out.iterdir()} == {
        "report.md",
        "results.csv",
        *names,
    }
    for name in names:
        assert (out / name).stat().st_size < 300_000
        with Image.open(out / name) as image:
            assert len(np.unique(np.asarray(image))) > 2
    with Image.open(out / "samples.png") as image:
        green = (np.asarray(image.convert("RGB")) == [0, 128, 0]).all(-1)
    # Three grids, halved to stay small.
    assert green.sum() == 3 * 250 * 125


def test_unfinished_sweep_says_what_is_missing(tmp_path):
    sweep = tmp_path / "sweep"
    make_run(sweep, "conv2d", 0)
    make_run(sweep, "conv2d", 1)
    make_run(sweep, "matmul", 0, speed=110.0)
    make_run(sweep, "matmul", 1, step=16)
    (sweep / "dense" / "seed_0").mkdir(parents=True)
    text, rows = report(sweep, tmp_path / "out")
    assert "| runs finished | 3 of 6 |" in text
    for line in (
        "- dense, seed 0: not begun",
        "- dense, seed 1: not begun",
        "- matmul, seed 1: at step 16 of 40",
    ):
        assert line in text
    assert "conv2d, seed" not in text
    assert "| dense | 0 | – |" in section(text, "Exploratory: means over seeds")
    speed = section(text, "Primary score: images/s")
    row = "| matmul | 1 | +10 | – | +10.0 | – | – | one pair: no test |"
    assert row in speed
    assert [row["finished"] for row in rows] == ["True"] * 2 + ["False"] + [
        "True",
        "False",
    ]


def test_sweep_without_a_finished_run_still_reports(tmp_path):
    sweep = tmp_path / "sweep"
    (sweep / "conv2d" / "seed_0").mkdir(parents=True)
    text, _ = report(sweep, tmp_path / "out")
    assert "- conv2d, seed 0: not begun" in text
    assert "No arm has a run to pair" in text
    assert "No run has drawn samples yet." in text


def test_runs_with_other_settings_are_pointed_out(sweep):
    path = sweep / "matmul" / "seed_1" / "operative_config.gin"
    path.write_text(path.read_text().replace("= 40", "= 38"))
    runs = results.read_sweep(sweep)
    arms = {"matmul": [run for run in runs if run.arm == "matmul"]}
    text = "\n".join(tables.settings(arms))
    assert "Runs of one arm differ in train.num_steps." in text


def test_another_arm_can_be_the_baseline(sweep):
    numbers = {
        arm: {
            run.seed: results.measure(run)
            for run in results.read_sweep(sweep)
            if run.arm == arm
        }
        for arm in ("conv2d", "matmul")
    }
    text = "\n".join(differences.differences(numbers, "matmul"))
    assert "differences from matmul" in text
    assert "| conv2d | 3 | -4 |" in text
