"""Going on after losses that are not finite: exactly, and not for ever."""

import math
import types

import numpy as np
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.data.batches import ImageDataset
from sagan.distributed.workers import Workers
from sagan.runs.checkpoints import Checkpoints, read_checkpoint
from sagan.runs.logs import read_metrics
from sagan.training.stability import NotFiniteError, Recovery
from sagan.training.train import train

TINY = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "ATTENTION_RESOLUTIONS = ()",
    "train.num_samples = 4",
    "train.sample_every = 100",
    "train.save_every = 2",
    "train.on_nan = 'restore'",
    "make_dataset.num_examples = 16",
)


def run(workdir, *bindings):
    parse_config(["configs/synthetic.gin"], [*TINY, *bindings])
    train(workdir=str(workdir))


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
def test_a_poisoned_step_is_left_behind_to_the_bit(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(__file__.rpartition("/tests/")[0])
    # Scores of 512 samples are not the question.
    monkeypatch.setattr("sagan.training.run.agreement", None)
    poison(monkeypatch, 3)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run(whole, "NUM_STEPS = 5")
    assert "Step 3: d_gradient_norm is nan, d_loss is nan" in caplog.text
    assert "step 2 is restored: the updates of steps 3 to 3" in caplog.text
    assert "Restores left: 2." in caplog.text
    expected = read_checkpoint(whole / "checkpoints")
    assert all(np.isfinite(tensor).all() for tensor in expected.values())
    updates = next(v for k, v in expected.items() if "iterations" in k)
    assert expected["step"] == 5
    assert updates == 4

    # Losses are read at once where they are logged, else a step later.
    # It may be the first of a session.
    run(parts, "NUM_STEPS = 2", "train.log_every = 1")
    run(parts, "NUM_STEPS = 4", "train.log_every = 1")
    run(parts, "NUM_STEPS = 5")
    np.testing.assert_equal(read_checkpoint(parts / "checkpoints"), expected)
    losses = [line["d_loss"] for line in read_metrics(parts)]
    assert [loss is None for loss in losses] == [
        False,
        False,
        True,
        False,
        False,
    ]


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
