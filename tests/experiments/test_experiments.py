"""Experiments on disk: planning of their runs, and the shipped arms."""

import pathlib

import gin
import keras
import pytest

from experiments.experiment import (
    REPEAT_SUFFIX,
    ROOT,
    choose_arms,
    find_experiment,
    plan_runs,
)
from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.runs.resume import flatten

NAMES = sorted(path.parent.name for path in ROOT.glob("*/base.gin"))
ARMS = [(name, arm) for name in NAMES for arm in find_experiment(name).arms]
CELEBA = "configs/celeba.gin"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


def make_experiment(folder, **arms):
    """Writes an experiment whose first arm is the baseline."""
    (folder / "arms").mkdir(parents=True)
    (folder / "base.gin").write_text("include 'configs/synthetic.gin'")
    (folder / "baseline.txt").write_text(f"{next(iter(arms))}\n")
    (folder / "primary.txt").write_text("images_per_second\n")
    for arm, text in arms.items():
        (folder / "arms" / f"{arm}.gin").write_text(text)
    return find_experiment(str(folder))


def settings(files):
    parse_config(files)
    return flatten(gin.config_str())


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
    # A sweep of some arms, or a resumed one, keeps the order.
    some = plan_runs(experiment, ["matmul", "conv2d", "dense"], 20, "sweep")
    assert [(run.seed, run.arm) for run in some] == [
        (seed, arm)
        for seed, order in orders.items()
        for arm in order
        if arm in ("matmul", "conv2d", "dense")
    ]
    # Seeds that begin elsewhere are those seeds.
    later = plan_runs(experiment, experiment.arms, 2, "sweep", first_seed=18)
    assert [(run.seed, run.arm) for run in later] == [
        (seed, arm) for seed in (18, 19) for arm in orders[seed]
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
    what = ("build_", "make_objective.", "train.d_steps")
    if name.startswith("recipe_"):  # Its arms are of equal time, not steps.
        batch = "make_dataset.batch_size"
        what += ("make_optimizers.", batch, "train.num_steps")
    assert all(key.startswith(what) for key in changed), changed


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
