"""Checkpoints: whole, complete, kept as asked, and readable after damage."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan, make_generator

from sagan.layers.numerics import check_networks
from sagan.layers.numerics.deviations import ROUNDING
from sagan.layers.pointwise import CONTROLS, IMPLEMENTATIONS
from sagan.runs.checkpoints import (
    Checkpoints,
    checkpoint_steps,
    restore_generator,
)
from sagan.runs.files import write_text

pytestmark = pytest.mark.usefixtures("run_eagerly")


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


def snapshot(gan):
    return [variable.numpy().copy() for variable in all_variables(gan)]


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_everything_comes_back_to_the_bit(tmp_path, precision):
    gan = make_gan(precision=precision)
    for seed in range(2):
        gan.train_step(*make_batch(seed=seed))
    Checkpoints(tmp_path, gan.trackables()).save(2)

    fresh = make_gan(precision=precision)
    for variable in all_variables(fresh):
        if "float" in str(variable.dtype):
            variable.assign(tf.ones_like(variable.value) * 0.123)
    assert Checkpoints(tmp_path, fresh.trackables()).restore_latest() == 2
    np.testing.assert_equal(snapshot(fresh), snapshot(gan))
    assert fresh.step.numpy() == 2


def test_keeps_the_last_and_every_nth(tmp_path):
    gan = make_gan()
    checkpoints = Checkpoints(
        tmp_path, gan.trackables(), keep_last=2, keep_every=4
    )
    assert checkpoints.newest() is None
    for step in range(1, 11):
        checkpoints.save(step)
    assert checkpoint_steps(tmp_path) == [4, 8, 9, 10]
    assert checkpoints.newest().name == "step_00000010"


def test_leftovers_of_a_killed_save_are_removed_and_not_restored(tmp_path):
    gan = make_gan()
    Checkpoints(tmp_path, gan.trackables()).save(1)
    leftover = tmp_path / ".partial_step_00000002"
    leftover.mkdir()
    (leftover / "checkpoint.data-00000-of-00001").write_bytes(b"half")
    assert Checkpoints(tmp_path, gan.trackables()).restore_latest() == 1
    assert not leftover.exists()


def _truncate(data, index):
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])


def _flip_bits(data, index):
    content = bytearray(data.read_bytes())
    for i in range(0, len(content), 997):
        content[i] ^= 0x40
    data.write_bytes(content)


def _empty(data, index):
    data.write_bytes(b"")


def _lose_data(data, index):
    data.unlink()


def _lose_index(data, index):
    index.unlink()


def _truncate_index(data, index):
    index.write_bytes(index.read_bytes()[: index.stat().st_size // 2])


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _flip_bits,
        _empty,
        _lose_data,
        _lose_index,
        _truncate_index,
    ],
)
def test_damaged_newest_is_set_aside_and_the_one_before_used(
    tmp_path, caplog, damage
):
    gan = make_gan()
    checkpoints = Checkpoints(tmp_path, gan.trackables())
    checkpoints.save(1)
    expected = snapshot(gan)
    gan.train_step(*make_batch())
    folder = checkpoints.save(2)
    damage(
        folder / "checkpoint.data-00000-of-00001", folder / "checkpoint.index"
    )

    fresh = make_gan()
    assert Checkpoints(tmp_path, fresh.trackables()).restore_latest() == 1
    np.testing.assert_equal(snapshot(fresh), expected)
    assert "step_00000002 is damaged" in caplog.text
    assert (tmp_path / "damaged_step_00000002").is_dir()
    assert checkpoint_steps(tmp_path) == [1]


def test_only_damaged_checkpoints_is_an_error_and_none_is_a_start(tmp_path):
    gan = make_gan()
    checkpoints = Checkpoints(tmp_path, gan.trackables())
    assert checkpoints.restore_latest() is None
    folder = checkpoints.save(1)
    (folder / "checkpoint.index").unlink()
    for _ in range(2):  # The second time is no new start either.
        with pytest.raises(ValueError, match="None of the 1 checkpoints"):
            checkpoints.restore_latest()


def test_a_failure_that_is_no_damage_leaves_the_checkpoints(
    tmp_path, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, make_gan().trackables())
    checkpoints.save(1)

    def fail(path):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(checkpoints.contents, "read", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        checkpoints.restore_latest()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_failed_save_leaves_the_checkpoints_as_they_were(tmp_path, monkeypatch):
    gan = make_gan()
    checkpoints = Checkpoints(tmp_path, gan.trackables())
    checkpoints.save(1)

    def fail(path):
        raise OSError("No space left on device")

    monkeypatch.setattr("sagan.runs.checkpoints._flush", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(2)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_sampling_takes_raw_or_averaged_weights_of_any_step(tmp_path):
    gan = make_gan(ema_decay=0.9)
    checkpoints = Checkpoints(tmp_path, gan.trackables())
    for step in (1, 2):
        gan.train_step(*make_batch(seed=step))
        checkpoints.save(step)
    other = make_gan().generator
    for ema, source in ((False, gan.generator), (True, gan.ema_generator)):
        assert restore_generator(tmp_path, other, ema=ema) == 2
        np.testing.assert_equal(other.get_weights(), source.get_weights())
    assert restore_generator(tmp_path, other, step=1, ema=False) == 1
    with pytest.raises(ValueError, match="no checkpoint of step 3.* 1, 2"):
        restore_generator(tmp_path, other, step=3)
    with pytest.raises(ValueError, match="no checkpoint in"):
        restore_generator(tmp_path / "nowhere", other)


def test_sampling_from_a_damaged_checkpoint_names_it(tmp_path):
    gan = make_gan()
    folder = Checkpoints(tmp_path, gan.trackables()).save(5)
    _truncate(folder / "checkpoint.data-00000-of-00001", None)
    with pytest.raises(ValueError, match="step_00000005 is damaged"):
        restore_generator(tmp_path, gan.generator)
    assert folder.exists()


def test_text_is_written_whole(tmp_path):
    path = tmp_path / "new" / "config.gin"
    write_text(path, "A = 1\n")
    write_text(path, "A = 2\n")
    assert path.read_text() == "A = 2\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("writer", "precision"),
    [
        ("matmul", "float32"),
        ("conv2d", "mixed_bfloat16"),
        ("einsum", "mixed_float16"),
    ],
)
def test_each_pointwise_reads_every_other(tmp_path, writer, precision):
    settings = {"base_channels": 8, "precision": precision}
    gan = make_gan(pointwise=writer, **settings)
    gan.train_step(*make_batch())
    gan.generator.attentions[2].gamma.assign(0.5)
    Checkpoints(tmp_path, gan.trackables()).save(1)
    latents, labels = gan.draw_latents(4, [1, 2])
    expected = gan.generator(latents, labels)
    readers = [{"pointwise": name} for name in IMPLEMENTATIONS]
    for reader in (*readers, {"fused_fgh": True}):
        other = make_generator(**settings, **reader)
        restore_generator(tmp_path, other, ema=False)
        difference = np.abs(other(latents, labels) - expected)
        # Images are in [-1, 1]; a dozen layers round one after another.
        if difference.mean() >= 4 * ROUNDING[gan.generator.compute_dtype]:
            with pytest.raises(ValueError, match="is wrong in"):
                check_networks({gan.generator: 4, other: 4}, "", "eager")


def test_the_controls_read_no_other_pointwise(tmp_path):
    gan = make_gan(pointwise="matmul", base_channels=8)
    Checkpoints(tmp_path, gan.trackables()).save(1)
    for name in CONTROLS:
        other = make_gan(pointwise=name, base_channels=8)
        for restore in (
            lambda gan: restore_generator(tmp_path, gan.generator),
            lambda gan: Checkpoints(
                tmp_path, gan.trackables()
            ).restore_latest(),
        ):
            with pytest.raises(ValueError, match="step_00000001.*'grouped'"):
                restore(other)
    assert checkpoint_steps(tmp_path) == [1]


def test_a_network_with_other_parts_is_refused(tmp_path):
    Checkpoints(tmp_path, make_gan().trackables()).save(1)
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
    weights = {"kernel": [1.0, 2.0], "bias": 3.0}
    Checkpoints(tmp_path, contents(**weights)).save(1)
    for found, message in (
        (
            {"kernel": [0.0, 0.0], "offset": 0.0},
            r"checkpoint has network/bias \[\]. Only .* network/offset \[\]\.",
        ),
        (
            weights | {"kernel": [0.0]},
            r"Of other shapes are network/kernel \[2\], here \[1\]\.",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            Checkpoints(tmp_path, contents(**found)).restore_latest()
    assert checkpoint_steps(tmp_path) == [1]
