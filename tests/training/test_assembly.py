"""What a config binds reaches the GAN, and a resumed run may not change it."""

import gin
import pytest
from tiny_gan import make_gan

from sagan.config import parse_config
from sagan.objective.objective import Objective
from sagan.runs.resume import check_resumable
from sagan.training import assembly

SETTINGS = {
    "seed": 0,
    "ema_decay": 0.9,
    "ema_start": 0,
    "jit_compile": None,
    "joint_batch": True,
    "accumulation": 1,
}
BINDINGS = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 32",
    "make_objective.r1 = 3",
    "make_objective.augmentations = ['color', 'cutout']",
    "make_optimizers.decay_end = 10",
)


@pytest.mark.usefixtures("run_eagerly")
def test_objective_half_life_and_schedule_reach_the_gan():
    parse_config(["configs/synthetic.gin"], BINDINGS)
    gan = assembly.make_gan(**SETTINGS, ema_half_life=320, d_steps=5)
    assert gan.objective == Objective(r1=3, augmentations=("color", "cutout"))
    # Ten batches of 32 images.
    assert gan.ema_decay**10 == pytest.approx(0.5)
    gan.d_optimizer.iterations.assign(25)
    assert float(gan.d_optimizer.learning_rate) == pytest.approx(0.5e-3)
    recorded = gin.operative_config_str()
    before = recorded.replace("make_objective.r1 = 3", "make_objective.r1 = 0")
    with pytest.raises(ValueError, match=r"make_objective.r1: 0 -> 3"):
        check_resumable(before, recorded)
    # A run older than these settings went by their defaults.
    lines = recorded.splitlines()
    old = "\n".join(x for x in lines if not x.startswith("make_objective"))
    with pytest.raises(ValueError, match=r"make_objective.r1: 0.0 -> 3"):
        check_resumable(old, recorded)


@pytest.mark.parametrize(
    ("objective", "labels", "words"),
    [
        (Objective(lecam=1, lecam_start=10), "uniform", "lecam_start = 10"),
        (Objective(r2=1, penalty_every=11), "uniform", "penalty_every = 11"),
        (Objective(loss="relativistic"), "data", "train.labels = 'data'"),
    ],
)
def test_settings_that_this_run_leaves_idle_are_warned_of(
    objective, labels, words, monkeypatch
):
    found = []
    monkeypatch.setattr(
        assembly.logging, "warning", lambda x, *a: found.append(x % a)
    )
    gan = make_gan(attention="residual", objective=objective)
    assembly.warn_of_idle(gan, 10, labels, 0)
    (warning,) = found
    assert words in warning
    gan.objective = Objective(
        lecam=1, lecam_start=9, r1=1, penalty_every=10, loss=objective.loss
    )
    assembly.warn_of_idle(gan, 10, "uniform", 0)
    assert len(found) == 1
    assembly.warn_of_idle(make_gan(), 10, "uniform", 5)
    assert len(found) == 1
    assembly.warn_of_idle(gan, 10, "uniform", 5)
    assert "attention_every = 5 has no effect" in found[1]
