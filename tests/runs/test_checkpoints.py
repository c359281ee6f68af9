"""Checkpoints: whole, complete, kept as asked, and readable after damage."""

import numpy as np
import pytest
import tensorflow as tf
from random_weights import draw_inputs, randomize
from tiny_gan import make_gan, make_generator

from sagan.layers.pointwise import CONTROLS, IMPLEMENTATIONS, Pointwise
from sagan.runs.checkpoints import (
    Checkpoints,
    checkpoint_steps,
    restore_generator,
)

pytestmark = pytest.mark.usefixtures("run_eagerly")


@pytest.fixture(scope="module")
def gan():
    return make_gan()


@pytest.fixture(scope="module")
def fresh():
    """Another GAN of the same shape."""
    return make_gan()


def all_variables(gan):
    variables = [
        *gan.generator.weights,
        *gan.discriminator.weights,
        *gan.ema_generator.weights,
    ]
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        variables += optimizer.variables
        inner = getattr(optimizer, "inner_optimizer", None)
        variables += inner.variables if inner else []
    return variables


def assign(variables, seed):
    """Gives variables values of their own; returns those."""
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign(
            tf.cast(99 * rng.random(variable.shape), variable.dtype)
        )
    return [variable.numpy() for variable in variables]


def assert_all_comes_back(folder, gan, fresh):
    expected = assign(all_variables(gan), 1)
    gan.step.assign(2)
    Checkpoints(folder, gan.trackables()).save(2)
    assign(all_variables(fresh), 2)
    assert Checkpoints(folder, fresh.trackables()).restore_latest() == 2
    restored = [variable.numpy() for variable in all_variables(fresh)]
    np.testing.assert_equal(restored, expected)
    assert fresh.step.numpy() == 2


def test_all_variables_come_back_bitwise(tmp_path, gan, fresh):
    assert_all_comes_back(tmp_path, gan, fresh)


def test_all_variables_of_loss_scaling_come_back_bitwise(tmp_path):
    gan, fresh = (make_gan(precision="mixed_float16") for _ in range(2))
    assert_all_comes_back(tmp_path, gan, fresh)


def weights(value):
    values = value + np.arange(5_000, dtype=np.float32)
    return {"weights": tf.Variable(values), "step": tf.Variable(1)}


def test_keeps_the_last_and_every_nth(tmp_path):
    checkpoints = Checkpoints(tmp_path, weights(0), keep_last=2, keep_every=4)
    assert checkpoints.newest() is None
    for step in range(1, 11):
        checkpoints.save(step)
    assert checkpoint_steps(tmp_path) == [4, 8, 9, 10]
    assert checkpoints.newest().name == "step_00000010"


def test_leftovers_of_a_killed_save_are_removed_and_not_restored(tmp_path):
    Checkpoints(tmp_path, weights(0)).save(1)
    leftover = tmp_path / ".partial_step_00000002"
    leftover.mkdir()
    (leftover / "checkpoint.data-00000-of-00001").write_bytes(b"half")
    assert Checkpoints(tmp_path, weights(1)).restore_latest() == 1
    assert not leftover.exists()


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_bits(path):
    content = bytearray(path.read_bytes())
    for i in range(0, len(content), 997):
        content[i] ^= 0x40
    path.write_bytes(content)


def _empty(path):
    path.write_bytes(b"")


def _lose(path):
    path.unlink()


DATA, INDEX = "checkpoint.data-00000-of-00001", "checkpoint.index"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *((DATA, damage) for damage in (_truncate, _flip_bits, _empty, _lose)),
        *((INDEX, damage) for damage in (_truncate, _lose)),
    ],
)
def test_damaged_newest_is_set_aside_and_the_one_before_used(
    tmp_path, caplog, name, damage
):
    contents = weights(1)
    checkpoints = Checkpoints(tmp_path, contents)
    checkpoints.save(1)
    expected = contents["weights"].numpy()
    contents["weights"].assign_add(expected)
    damage(checkpoints.save(2) / name)

    fresh = weights(0)
    assert Checkpoints(tmp_path, fresh).restore_latest() == 1
    np.testing.assert_equal(fresh["weights"].numpy(), expected)
    assert "step_00000002 is damaged" in caplog.text
    assert (tmp_path / "damaged_step_00000002").is_dir()
    assert checkpoint_steps(tmp_path) == [1]


def test_only_damaged_checkpoints_is_an_error_and_none_is_a_start(tmp_path):
    checkpoints = Checkpoints(tmp_path, weights(0))
    assert checkpoints.restore_latest() is None
    (checkpoints.save(1) / INDEX).unlink()
    for _ in range(2):  # The second time is no new start either.
        with pytest.raises(ValueError, match="None of the 1 checkpoints"):
            checkpoints.restore_latest()


def test_a_failure_that_is_no_damage_leaves_the_checkpoints(
    tmp_path, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, weights(0))
    checkpoints.save(1)

    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(tf.train.Checkpoint, "read", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        checkpoints.restore_latest()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_failed_save_leaves_the_checkpoints_as_they_were(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path, weights(0))
    checkpoints.save(1)

    def fail(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_sampling_takes_raw_or_averaged_weights_of_any_step(
    tmp_path, gan, fresh
):
    checkpoints = Checkpoints(tmp_path, gan.trackables())
    for step in (1, 2):
        assign(all_variables(gan), step)
        checkpoints.save(step)
    other = fresh.generator
    for ema, source in ((False, gan.generator), (True, gan.ema_generator)):
        assert restore_generator(tmp_path, other, ema=ema) == 2
        np.testing.assert_equal(other.get_weights(), source.get_weights())
    assert restore_generator(tmp_path, other, step=1, ema=False) == 1
    with pytest.raises(ValueError, match="no checkpoint of step 3.* 1, 2"):
        restore_generator(tmp_path, other, step=3)
    with pytest.raises(ValueError, match="no checkpoint in"):
        restore_generator(tmp_path / "nowhere", other)
    # A damaged one is named, and stays.
    _truncate(tmp_path / "step_00000002" / DATA)
    with pytest.raises(ValueError, match="step_00000002 is damaged"):
        restore_generator(tmp_path, other)
    assert checkpoint_steps(tmp_path) == [1, 2]


def test_each_pointwise_reads_every_other(tmp_path):
    inputs = tf.random.stateless_normal([2, 4, 4, 3], [1, 2])
    writer = Pointwise(5, "matmul")
    expected = writer(inputs)
    Checkpoints(tmp_path, {"layer": writer}).save(1)
    for name in IMPLEMENTATIONS:
        reader = Pointwise(5, name)
        reader(inputs)
        Checkpoints(tmp_path, {"layer": reader}).restore_latest()
        np.testing.assert_allclose(reader(inputs), expected, atol=1e-5)


def test_fused_attention_reads_plain_attention(tmp_path):
    writer, reader = make_generator(), make_generator(fused_fgh=True)
    randomize(writer)
    Checkpoints(tmp_path, {"generator": writer}).save(1)
    restore_generator(tmp_path, reader, ema=False)
    inputs = draw_inputs(writer)
    # Images are in [-1, 1]; a dozen layers round one after another.
    np.testing.assert_allclose(reader(*inputs), writer(*inputs), atol=1e-5)


def test_the_controls_read_no_other_pointwise(tmp_path):
    writer = make_generator(pointwise="matmul", base_channels=8)
    Checkpoints(tmp_path, {"generator": writer}).save(1)
    for name in CONTROLS:
        other = make_generator(pointwise=name, base_channels=8)
        with pytest.raises(ValueError, match="step_00000001.*'grouped'"):
            restore_generator(tmp_path, other, ema=False)
        with pytest.raises(ValueError, match="step_00000001.*'grouped'"):
            Checkpoints(tmp_path, {"generator": other}).restore_latest()
    assert checkpoint_steps(tmp_path) == [1]


def test_a_network_with_other_parts_is_refused(tmp_path, gan):
    Checkpoints(tmp_path, gan.trackables()).save(1)
    other = make_gan(attention_resolutions=(8, 16))
    lacking = "Only the network has {}/attentions/1/f/kernel .*1, {}, 1.*more"
    with pytest.raises(ValueError, match=lacking.format("discriminator", 4)):
        Checkpoints(tmp_path, other.trackables()).restore_latest()
    with pytest.raises(ValueError, match=lacking.format("ema_generator", 8)):
        restore_generator(tmp_path, other.generator)
    # TensorFlow would leave out what the network has no place for.
    other = make_generator(attention_resolutions=())
    with pytest.raises(ValueError, match="Only the checkpoint has ema_gen"):
        restore_generator(tmp_path, other)
    assert checkpoint_steps(tmp_path) == [1]


def test_a_renamed_or_reshaped_variable_is_named(tmp_path):
    def contents(**values):
        variables = {k: tf.Variable(value) for k, value in values.items()}
        return {"network": tf.train.Checkpoint(**variables), "step": step}

    step = tf.Variable(1)
    saved = {"kernel": [1.0, 2.0], "bias": 3.0}
    Checkpoints(tmp_path, contents(**saved)).save(1)
    for found, message in (
        (
            {"kernel": [0.0, 0.0], "offset": 0.0},
            r"checkpoint has network/bias \[\]. Only .* network/offset \[\]\.",
        ),
        (
            saved | {"kernel": [0.0]},
            r"Of other shapes are network/kernel \[2\], here \[1\]\.",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Checkpoints(tmp_path, contents(**found)).restore_latest()
    assert checkpoint_steps(tmp_path) == [1]
