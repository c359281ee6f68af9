"""Sweeps: the command, real and stand-in runs, stopping and resuming."""

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
import time

import pytest

from experiments.experiment import ROOT, Run, find_experiment, plan_runs
from experiments.sweep import is_finished, run_all

REPOSITORY = ROOT.parent

TINY = """
include 'configs/synthetic.gin'
BASE_CHANNELS = 2
BATCH_SIZE = 2
NUM_STEPS = 2
ATTENTION_RESOLUTIONS = ()
build_generator.spectral_norm = False
build_discriminator.spectral_norm = False
train.num_samples = 2
train.log_every = 1
make_dataset.num_examples = 64
"""
# What a run does, in short: resume, save, and end when told to.
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


def fake_run(folder, arm, seconds=0.0):
    folder = folder / arm / "seed_0"
    arguments = (sys.executable, "-c", FAKE, str(folder), str(seconds))
    return Run(arm, 0, 3, folder, arguments)


def read_log(run):
    return (run.folder / "train.log").read_text()


@pytest.mark.parametrize("module", ["run", "report"])
def test_help_is_quick_and_shows_examples(module):
    started = time.monotonic()
    result = command(module, "--help")
    assert time.monotonic() - started < 3
    assert f"python -m experiments.{module} --" in result.stdout


def test_a_real_sweep_survives_a_failing_arm(tmp_path):
    folder, sweep = tmp_path / "tiny", tmp_path / "sweep"
    (folder / "arms").mkdir(parents=True)
    for name, text in {
        "base.gin": TINY,
        "baseline.txt": "good",
        "primary.txt": "images_per_second",
        "arms/good.gin": "POINTWISE = 'conv2d'",
        "arms/bad.gin": "POINTWISE = 'nonsense'",
    }.items():
        (folder / name).write_text(text)
    result = command(
        "run", f"--experiment={folder}", f"--workdir={sweep}", "--seeds=1"
    )
    assert result.returncode == 1
    assert "bad, seed 0 failed (exit code 1)" in result.stderr
    assert "'nonsense'" in result.stderr  # The end of the run's log.
    assert "1/2 runs, 2/4 steps" in result.stderr
    assert "1 of 2 runs are finished" in result.stderr
    assert "step 2/2" in (sweep / "good/seed_0/train.log").read_text()
    experiment = find_experiment(str(folder))
    good, bad = sorted(
        plan_runs(experiment, experiment.arms, 1, str(sweep)),
        key=lambda run: run.arm == "bad",
    )
    assert is_finished(good)
    assert not is_finished(bad)


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


def test_failures_are_reported_and_made_by_the_same_sweep(tmp_path, caplog):
    runs = [fake_run(tmp_path, "bad", -1), fake_run(tmp_path, "good")]
    assert run_all(runs) == ([runs[0]], None)
    assert [is_finished(run) for run in runs] == [False, True]
    assert "cannot do that" in caplog.text
    runs[0] = fake_run(tmp_path, "bad")
    assert run_all(runs) == ([], None)
    assert all(map(is_finished, runs))
    # The finished arm was not started again.
    assert [read_log(run).count("from step") for run in runs] == [2, 1]


def test_jobs_run_at_a_time(tmp_path):
    runs = [fake_run(tmp_path, arm, 1.0) for arm in "abc"]
    started = time.monotonic()
    assert run_all(runs, jobs=3) == ([], None)
    assert time.monotonic() - started < 2.5
    assert all(map(is_finished, runs))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_runs_save_and_the_sweep_resumes(tmp_path, number):
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
        (
            ["--experiment=nothing"],
            "There are attention, attention_8, attention_cifar10, blocks, "
            "collapse, pointwise, precision, recipe_cifar10",
        ),
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
