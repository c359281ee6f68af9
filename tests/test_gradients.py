"""Micro-batches add up to the batch, in less memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan, open_gates, reset, values

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.spectral_norm import spectral_layers, spectral_normalize
from sagan.optimizers import loss_scale, updates_applied
from sagan.profiling.memory import peak_growth

BATCH = 8


@pytest.fixture(scope="module")
def made():
    """A GAN whose updates are proportional to gradients, and its state."""
    gan = make_gan()
    for network, name in (
        (gan.generator, "g_optimizer"),
        (gan.discriminator, "d_optimizer"),
    ):
        # Adam's are to their signs.
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(network.trainable_variables)
        setattr(gan, name, optimizer)
    open_gates(gan)
    return gan, values(gan.variables())


@pytest.fixture
def gan(made, run_eagerly):
    reset(*made)
    made[0].accumulation = 1
    return made[0]


def d_update(gan):
    (images,), (labels,) = make_batch(batch=BATCH)
    latents = gan.draw_latents(BATCH, [0, 0])
    return gan.update_discriminator(images, labels, *latents)


def g_update(gan):
    return gan.update_generator(*gan.draw_latents(BATCH, [0, 0]))


def g_update_peak(gan, batch=32):
    latents = gan.draw_latents(batch, [0, 0])
    gan.update_generator(*latents)
    return peak_growth(lambda: gan.update_generator(*latents))


def check_equal(gan, state, update, accumulation, graph=False):
    """An update in micro-batches leaves the state that the whole one does."""
    expected = update(gan)
    expected_state = values(gan.variables())
    reset(gan, state)
    gan.accumulation = accumulation
    tf.config.run_functions_eagerly(not graph)
    scalars = update(gan)
    for variable, value in zip(gan.variables(), expected_state, strict=True):
        # To the rounding of sums of 1e4 terms.
        np.testing.assert_allclose(
            variable, value, rtol=1e-5, atol=1e-5, err_msg=variable.name
        )
    assert scalars.keys() == expected.keys()
    for name, value in scalars.items():
        np.testing.assert_allclose(
            value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize("graph", [False, True])
def test_discriminator_update_is_that_of_the_whole_batch(gan, made, graph):
    """With spectral norm, whose `u` the loop sets back for each part."""
    before = values(gan.discriminator.trainable_variables)
    check_equal(gan, made[1], d_update, 4, graph)
    assert updates_applied(gan.d_optimizer) == 1
    for old, new in zip(
        before, gan.discriminator.trainable_variables, strict=True
    ):
        assert np.abs(new - old).max() > 1e-4  # Ten times the tolerance.


def test_generator_update_without_batch_norm_is_that_of_the_whole_batch(
    gan, made, monkeypatch
):
    normalize = BatchNorm._normalize_fused
    monkeypatch.setattr(
        BatchNorm,
        "_normalize_fused",
        lambda layer, *arguments: normalize(layer, *arguments[:3], False, None),
    )
    check_equal(gan, made[1], g_update, 2)
    assert updates_applied(gan.g_optimizer) == 1


def test_generator_update_normalises_each_micro_batch(gan, made):
    latents, labels = gan.draw_latents(BATCH, [0, 0])
    halves = []
    for half in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH)):
        halves.append(gan.g_gradients(latents[half], labels[half]))
        reset(*made)  # So that nothing is carried over.
    (first, first_scalars), (second, second_scalars) = halves
    before = values(gan.generator.trainable_variables)
    gan.accumulation = 2
    scalars = g_update(gan)
    for weight, old, one, other in zip(
        gan.generator.trainable_variables, before, first, second, strict=True
    ):
        np.testing.assert_allclose(
            weight, old - (one + other) / 2, rtol=1e-5, atol=1e-5
        )
    loss = (first_scalars["g_loss"] + second_scalars["g_loss"]) / 2
    assert float(scalars["g_loss"]) == pytest.approx(float(loss), rel=1e-5)
    assert gan.generator.norm.updates.numpy() == 2


def test_an_update_makes_one_power_iteration(gan):
    gan.accumulation = 4
    for network, update in (
        (gan.discriminator, d_update),
        (gan.generator, g_update),
    ):
        layers = spectral_layers(network)
        expected = [
            spectral_normalize(layer.kernel.value, layer.u.value)[1].numpy()
            for layer in layers
        ]
        update(gan)
        for layer, u in zip(layers, expected, strict=True):
            np.testing.assert_allclose(layer.u, u, atol=1e-6)


def test_the_graph_runs_one_micro_batch_at_a_time():
    """Compiled as a graph, where they could run side by side."""
    whole, parts = (
        g_update_peak(
            make_gan(
                accumulation=accumulation,
                base_channels=8,
                attention_resolutions=(),
            )
        )
        for accumulation in (1, 4)
    )
    assert parts < 0.7 * whole  # An allocator rounds.


@pytest.mark.usefixtures("run_eagerly")
def test_float16_skips_an_update_if_one_micro_batch_is_not_finite():
    gan = make_gan(precision="mixed_float16", accumulation=2)
    gan.d_optimizer.dynamic_scale.assign(64.0)
    (images,), (labels,) = make_batch(batch=BATCH)
    latents = gan.draw_latents(BATCH, [0, 0])
    last = tf.range(BATCH)[:, None, None, None] == BATCH - 1
    bad = tf.where(last, np.inf, images)
    weights = values(gan.discriminator.trainable_variables)
    gan.update_discriminator(bad, labels, *latents)
    np.testing.assert_equal(
        values(gan.discriminator.trainable_variables), weights
    )
    assert updates_applied(gan.d_optimizer) == 0
    assert loss_scale(gan.d_optimizer) == 32.0

    gan.update_discriminator(images, labels, *latents)
    assert updates_applied(gan.d_optimizer) == 1


def test_a_batch_that_cannot_be_cut_is_refused(gan):
    gan.accumulation = 3
    with pytest.raises(ValueError, match="accumulation is 3.* batch of 8"):
        g_update(gan)
