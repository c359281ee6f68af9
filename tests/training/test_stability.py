"""Losses that are not finite, and signs of collapse."""

import math
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf

from sagan.data.batches import ImageDataset
from sagan.distributed.workers import Workers
from sagan.runs.checkpoints import Checkpoints, read_checkpoint
from sagan.runs.logs import read_metrics
from sagan.training.stability import Health, NotFiniteError, Recovery


def poison(monkeypatch, bad):
    """Makes the images of step `bad` not finite, whenever they are read."""
    steps = ImageDataset.steps

    def read(self, d_steps, first, rows):
        def spoil(step, batch):
            images, labels = batch
            return images * tf.where(step == bad, math.nan, 1.0), labels

        return steps(self, d_steps, first, rows).enumerate(first + 1).map(spoil)

    monkeypatch.setattr(ImageDataset, "steps", read)


@pytest.mark.usefixtures("run_eagerly")
def test_the_update_of_a_poisoned_step_is_dropped(
    tmp_path, monkeypatch, caplog, run
):
    poison(monkeypatch, 3)
    settings = (
        "NUM_STEPS = 5",
        "train.d_steps = 2",
        "train.save_every = 2",
        "train.on_nan = 'restore'",
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    run(whole, *settings, "train.log_every = 50")
    assert "Step 3: d_gradient_norm is nan, d_loss is nan" in caplog.text
    assert "step 2 is restored: the updates of steps 3 to 3" in caplog.text
    assert "Restores left: 2." in caplog.text
    expected = read_checkpoint(whole / "checkpoints")
    assert all(np.isfinite(tensor).all() for tensor in expected.values())
    assert expected["step"] == 5
    # Of the discriminator and of the generator.
    updates = [v for k, v in sorted(expected.items()) if "iterations" in k]
    assert updates == [8, 4]

    # Losses are read at once where they are logged, else a step later. Here
    # they are of the first step of a session.
    shutil.copytree(whole, resumed)
    for step in (4, 5):
        shutil.rmtree(resumed / f"checkpoints/step_{step:08d}")
    run(resumed, *settings)
    np.testing.assert_equal(read_checkpoint(resumed / "checkpoints"), expected)
    losses = {line["step"]: line["d_loss"] for line in read_metrics(resumed)}
    assert sorted(losses) == [3, 4, 5]
    assert [step for step, loss in losses.items() if loss is None] == [3]


def test_restores_are_bounded(tmp_path):
    step, weight = tf.Variable(4), tf.Variable(1.0)
    gan = types.SimpleNamespace(step=step, variables=list)
    game = gan, Workers(tf.distribute.get_strategy())
    checkpoints = Checkpoints(tmp_path, {"step": step, "weight": weight})
    error = NotFiniteError("Step 5: d_loss is nan", "The run stops.")
    with pytest.raises(FloatingPointError, match="The run stops"):
        Recovery(*game, checkpoints, 2).restore(5, error)  # No checkpoint yet.
    checkpoints.save(4)
    recovery = Recovery(*game, checkpoints, 2)
    for reached in (5, 6):
        weight.assign(math.nan)
        recovery.restore(reached, error)
        assert (step.numpy(), weight.numpy()) == (reached, 1.0)
    with pytest.raises(FloatingPointError, match="The run stops"):
        recovery.restore(7, error)
    with pytest.raises(FloatingPointError, match="The run stops"):
        Recovery(*game, checkpoints, 0).restore(7, error)


def test_signs_of_collapse_are_logged_once(caplog):
    health = Health(scaled_loss=False)
    fine = {
        "fake_std": 0.5, "real_std": 0.5,
        "real_accuracy": 0.9, "fake_accuracy": 1.0,
    }  # fmt: skip
    health.check_collapse(1, fine)
    assert not caplog.records
    for step in range(2, 4):
        health.check_collapse(step, fine | {"fake_std": 0.01})
    assert [record.getMessage()[:7] for record in caplog.records] == ["Step 2:"]
    assert "hardly differ" in caplog.text
    for step in range(4, 40):
        health.check_collapse(step, fine | {"real_accuracy": 1.0})
    assert caplog.text.count("told every image apart") == 1
    blind = {"real_accuracy": 1.0, "fake_accuracy": 0.0}
    for step in range(40, 80):
        health.check_collapse(step, fine | blind)
    assert caplog.text.count("all logits had one sign") == 1
    count = len(caplog.records)
    health.check_collapse(80, fine | {"real_std": 0.0, "fake_std": 0.0})
    assert len(caplog.records) == count


def test_loss_scaling_tolerates_some_overflow():
    health = Health(scaled_loss=True)
    for step in range(30):
        assert not health.check_finite(step, {"d_loss": np.inf}, lambda: None)
    with pytest.raises(FloatingPointError, match="Step 30: d_loss is inf"):
        health.check_finite(30, {"d_loss": np.inf}, lambda: None)
    assert health.check_finite(31, {"d_loss": 1.0}, lambda: None)
    assert not health.check_finite(32, {"d_loss": np.nan}, lambda: None)
