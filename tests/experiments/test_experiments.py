"""Sweeps: planning, running, stopping and resuming them; the shipped arms."""

import fcntl
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
import time

import gin
import keras
import pytest

from experiments.experiment import (
    REPEAT_SUFFIX,
    ROOT,
    Run,
    choose_arms,
    find_experiment,
    plan_runs,
)
from experiments.sweep import is_finished, run_all
from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.runs.resume import flatten

REPOSITORY = ROOT.parent
NAMES = sorted(path.parent.name for path in ROOT.glob("*/base.gin"))
ARMS = [(name, arm) for name in NAMES for arm in find_experiment(name).arms]
CELEBA = "configs/celeba.gin"

TINY = """
include 'configs/synthetic.gin'
BASE_CHANNELS = 2
BATCH_SIZE = 4
NUM_STEPS = 3
ATTENTION_RESOLUTIONS = ()
build_generator.spectral_norm = False
build_discriminator.spectral_norm = False
train.num_samples = 8
train.log_every = 1
make_dataset.num_examples = 64
"""
# What a run does, in short: go on, save, and end in order when told to.
FAKE = """
import pathlib, signal, sys, time
folder, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])
print("from step", len(list(folder.glob("checkpoints/*"))))
if seconds < 0:
    sys.exit("cannot do that")
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
(folder / "ready").touch()
while seconds > 0 and not stopped:
    time.sleep(0.02)
    seconds -= 0.02
step = 1 if stopped else 3
(folder / f"checkpoints/step_{step:08d}").mkdir(parents=True)
"""


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(REPOSITORY)


def command(module, *arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        **kwargs,
    )


def make_experiment(folder, base=TINY, **arms):
    """Writes an experiment whose first arm is the baseline."""
    (folder / "arms").mkdir(parents=True)
    (folder / "base.gin").write_text(base)
    (folder / "baseline.txt").write_text(f"{next(iter(arms))}\n")
    (folder / "primary.txt").write_text("images_per_second\n")
    for arm, text in arms.items():
        (folder / "arms" / f"{arm}.gin").write_text(text)
    return find_experiment(str(folder))


def fake_run(folder, arm, seconds=0.0):
    folder = folder / arm / "seed_0"
    arguments = (sys.executable, "-c", FAKE, str(folder), str(seconds))
    return Run(arm, 0, 3, folder, arguments)


def read_log(run):
    return (run.folder / "train.log").read_text()


def settings(files):
    parse_config(files)
    return flatten(gin.config_str())


@pytest.mark.parametrize("module", ["run", "report"])
def test_help_is_quick_and_shows_examples(module):
    started = time.monotonic()
    result = command(module, "--help")
    assert time.monotonic() - started < 3
    assert f"python -m experiments.{module} --" in result.stdout


def test_a_real_sweep_survives_a_failing_arm_and_goes_on(tmp_path):
    experiment = make_experiment(
        tmp_path / "tiny",
        good="POINTWISE = 'conv2d'",
        bad="POINTWISE = 'nonsense'",
    )
    sweep = tmp_path / "sweep"
    arguments = (
        f"--experiment={experiment.folder}",
        f"--workdir={sweep}",
        "--seeds=1",
    )
    result = command("run", *arguments)
    assert result.returncode == 1
    assert "bad, seed 0 failed (exit code 1)" in result.stderr
    assert "'nonsense'" in result.stderr  # The end of the run's log.
    assert "1/2 runs, 3/6 steps" in result.stderr
    assert "1 of 2 runs are finished" in result.stderr
    assert "step 3/3" in (sweep / "good/seed_0/train.log").read_text()

    arm = experiment.folder / "arms" / "bad.gin"
    arm.write_text("POINTWISE = 'matmul'")
    runs = plan_runs(experiment, experiment.arms, 1, str(sweep))
    runs.sort(key=lambda run: run.arm == "bad")
    assert [is_finished(run) for run in runs] == [True, False]
    assert run_all(runs) == ([], None)
    assert all(map(is_finished, runs))
    # The finished arm was not started again.
    assert read_log(runs[0]).count("Starting at step") == 1


def test_dry_run_prints_nothing_but_commands(tmp_path):
    result = command(
        "run",
        "--experiment=pointwise",
        "--arms=matmul,conv2d",
        "--seeds=2",
        f"--workdir={tmp_path / 'a b'}",
        "--gin_config=configs/mixed_bfloat16.gin",
        "--gin_bindings=NUM_STEPS = 7",
        "--data_dir=some where",
        "--dry_run",
    )
    assert result.returncode == 0, result.stderr
    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    folder = "experiments/pointwise"
    assert lines == [
        [
            sys.executable,
            "-m",
            "sagan.train",
            f"--gin_config={folder}/base.gin",
            "--gin_config=configs/mixed_bfloat16.gin",
            f"--gin_config={folder}/arms/{arm}.gin",
            "--gin_bindings=NUM_STEPS = 7",
            f"--gin_bindings=SEED = {seed}",
            f"--workdir={tmp_path / 'a b'}/{arm}/seed_{seed}",
            "--data_dir=some where",
        ]
        for seed in (0, 1)
        for arm in ("matmul", "conv2d")
    ]
    assert not (tmp_path / "a b").exists()


def test_failures_are_reported_and_the_others_go_on(tmp_path, caplog):
    runs = [fake_run(tmp_path, "bad", -1), fake_run(tmp_path, "good")]
    assert run_all(runs) == ([runs[0]], None)
    assert [is_finished(run) for run in runs] == [False, True]
    assert "cannot do that" in caplog.text


def test_jobs_run_at_a_time(tmp_path):
    runs = [fake_run(tmp_path, arm, 1.0) for arm in "abc"]
    started = time.monotonic()
    assert run_all(runs, jobs=3) == ([], None)
    assert time.monotonic() - started < 2.5
    assert all(map(is_finished, runs))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_runs_save_and_the_sweep_goes_on(tmp_path, number):
    runs = [fake_run(tmp_path, arm, 60.0) for arm in "abc"]

    def interrupt():
        while not all((run.folder / "ready").exists() for run in runs[:2]):
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run_all(runs, jobs=2) == ([], number.name)
    thread.join()
    saved = [(run.folder / "checkpoints/step_00000001") for run in runs]
    assert [path.exists() for path in saved] == [True, True, False]
    runs = [fake_run(tmp_path, arm) for arm in "abc"]
    assert run_all(runs) == ([], None)
    assert "from step 1" in read_log(runs[0])
    assert "from step 0" in read_log(runs[2])


def test_a_run_that_another_process_makes_is_left_alone(tmp_path, caplog):
    run = fake_run(tmp_path, "a", 1.0)
    run.folder.mkdir(parents=True)
    with (run.folder / "train.log").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert run_all([run]) == ([run], None)
    assert "another process is making this run" in caplog.text
    assert read_log(run) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--experiment=pointwse"], "Did you mean 'pointwise'?"),
        (["--experiment=nothing"], "There are attention, pointwise"),
        (["--arms=matmull"], "Unknown arm of pointwise 'matmull'. Did you "),
        (["more"], "Unexpected argument 'more'"),
    ],
)
def test_mistake_is_named_without_a_traceback(tmp_path, arguments, message):
    workdir = tmp_path / "sweep"
    result = command(
        "run", "--experiment=pointwise", f"--workdir={workdir}", *arguments
    )
    assert result.returncode != 0
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr
    assert not workdir.exists()


def test_mistakes_in_configs_name_the_arm(tmp_path):
    experiment = make_experiment(
        tmp_path / "some", one="POINTWISE = 'dense'", two="POINTWIS = 'conv2d'"
    )
    with pytest.raises(ValueError, match="Arm two .*'POINTWISE'"):
        plan_runs(experiment, experiment.arms, 1, "sweep")
    with pytest.raises(ValueError, match="'configs/nothing.gin'"):
        plan_runs(experiment, ["one"], 1, "sweep", ["configs/nothing.gin"])
    (tmp_path / "some/baseline.txt").write_text("three")
    with pytest.raises(ValueError, match="one of one, two; it holds 'three'"):
        find_experiment(f"{tmp_path}/some")


@pytest.mark.parametrize("text", ["", "a 0.1 b", "a much", "a 0", "a -1"])
def test_an_experiment_names_its_primary_score(tmp_path, text):
    folder = tmp_path / "some"
    assert make_experiment(folder, one="").primary == (
        "images_per_second",
        None,
    )
    (folder / "primary.txt").write_text("score/fid 0.5\n")
    assert find_experiment(str(folder)).primary == ("score/fid", 0.5)
    (folder / "primary.txt").write_text(text)
    with pytest.raises(ValueError, match=f"primary.txt .* it holds '{text}'"):
        find_experiment(str(folder))


def test_the_order_of_arms_is_drawn_for_each_seed():
    experiment = find_experiment("pointwise")
    orders = {}
    for run in plan_runs(experiment, experiment.arms, 20, "sweep"):
        orders.setdefault(run.seed, []).append(run.arm)
    # All arms of a seed come before the next seed.
    assert list(orders) == list(range(20))
    assert all(sorted(o) == sorted(experiment.arms) for o in orders.values())
    assert len(set(map(tuple, orders.values()))) == 20
    # No arm keeps a place, and of two arms either may come first.
    assert len({order[0] for order in orders.values()}) > 5
    earlier = [o.index("dense") < o.index("conv2d") for o in orders.values()]
    assert 4 < sum(earlier) < 16
    # A sweep of some arms, or one that goes on, keeps the order.
    some = plan_runs(experiment, ["matmul", "conv2d", "dense"], 20, "sweep")
    assert [(run.seed, run.arm) for run in some] == [
        (seed, arm)
        for seed, order in orders.items()
        for arm in order
        if arm in ("matmul", "conv2d", "dense")
    ]


def test_a_binding_that_makes_arms_equal_is_an_error():
    experiment = find_experiment("precision")
    with pytest.raises(ValueError, match="Arms float32 and mixed_bfloat16 ha"):
        plan_runs(
            experiment,
            experiment.arms,
            1,
            "sweep",
            gin_bindings=["PRECISION = 'float32'"],
        )


@pytest.mark.parametrize(("name", "arm"), ARMS)
def test_each_arm_parses_alone_and_at_the_papers_size(name, arm):
    experiment = find_experiment(name)
    delta = experiment.folder / "arms" / f"{arm}.gin"
    values = settings(experiment.config_files(arm))
    assert values["build_generator.pointwise"] in IMPLEMENTATIONS
    assert values["train.num_steps"] <= 2000  # Minutes on two cores.

    # Nothing of base.gin stays: celeba.gin and the arm define the whole run.
    large = settings(experiment.config_files(arm, [CELEBA]))
    assert large == settings([CELEBA, str(delta)])
    plain = settings([CELEBA])
    changed = {key for key in large if large[key] != plain.get(key)}
    assert all(key.startswith("build_") for key in changed), changed


@pytest.mark.parametrize("name", NAMES)
def test_arms_differ_except_for_repeats(name):
    experiment = find_experiment(name)
    assert choose_arms(experiment, []) == list(experiment.arms)
    seen = {}
    for arm in experiment.arms:
        values = settings(experiment.config_files(arm))
        for other, others in seen.items():
            repeat = arm == other + REPEAT_SUFFIX
            assert (values == others) == repeat, (arm, other)
        seen[arm] = values


@pytest.mark.parametrize(("name", "arm"), ARMS)
def test_each_arm_fits_the_networks_at_both_sizes(name, arm, monkeypatch):
    # Constructed, but not run: whether the settings fit is the question.
    monkeypatch.setattr(keras.Model, "__call__", lambda *_: None)
    experiment = find_experiment(name)
    for extra in ([], [CELEBA]):
        values = settings(experiment.config_files(arm, extra))
        for build in (build_generator, build_discriminator):
            prefix = f"{build.__name__}."
            arguments = {
                key.removeprefix(prefix): value
                for key, value in values.items()
                if key.startswith(prefix)
            }
            build(**arguments)


@pytest.mark.parametrize("name", NAMES)
def test_each_experiment_has_a_question_and_a_verdict(name):
    text = pathlib.Path(ROOT, name, "README.md").read_text()
    headings = ("Question", "Held fixed", "Arms", "Primary score", "Verdict")
    for heading in headings:
        assert f"## {heading}\n" in text
    experiment = find_experiment(name)
    for arm in experiment.arms:
        assert f"`{arm}`" in text, arm
    stated = text.split("## Primary score\n")[1].split("\n## ")[0]
    assert f"`{experiment.primary.name}`" in stated
    assert str(experiment.primary.bound or "") in stated


@pytest.mark.parametrize("name", NAMES)
def test_the_baseline_is_repeated_in_each_experiment(name):
    experiment = find_experiment(name)
    assert experiment.baseline + REPEAT_SUFFIX in experiment.arms
