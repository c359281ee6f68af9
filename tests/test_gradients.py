"""Micro-batches add up to the batch, in less memory."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.spectral_norm import spectral_layers, spectral_normalize
from sagan.optimizers import loss_scale, updates_applied
from sagan.profiling.memory import peak_growth

BATCH = 8


def values(variables):
    return [variable.numpy().copy() for variable in variables]


def make_sgd_gan(**settings):
    """Its updates are proportional to gradients; Adam's are to their signs."""
    gan = make_gan(**settings)
    for network, name in (
        (gan.generator, "g_optimizer"),
        (gan.discriminator, "d_optimizer"),
    ):
        optimizer = keras.optimizers.SGD(1.0)
        optimizer.build(network.trainable_variables)
        setattr(gan, name, optimizer)
        for attention in network.attentions:
            if hasattr(attention, "gamma"):
                attention.gamma.assign(0.5)
    return gan


def d_update(gan):
    images, labels = make_batch(batch=BATCH)
    latents = gan.draw_latents(BATCH, [0, 0])
    return gan.update_discriminator(images[0], labels[0], *latents)


def g_update(gan):
    return gan.update_generator(*gan.draw_latents(BATCH, [0, 0]))


def g_update_peak(gan, batch=32):
    latents = gan.draw_latents(batch, [0, 0])
    gan.update_generator(*latents)
    return peak_growth(lambda: gan.update_generator(*latents))


def check_equal(network, expected_network, scalars, expected_scalars):
    """All weights and scalars agree to the rounding of sums of 1e4 terms."""
    for weight, expected in zip(
        network.weights, expected_network.weights, strict=True
    ):
        np.testing.assert_allclose(
            weight, expected, rtol=1e-5, atol=1e-5, err_msg=weight.path
        )
    assert scalars.keys() == expected_scalars.keys()
    for name, value in scalars.items():
        np.testing.assert_allclose(
            value, expected_scalars[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_a_graph_makes_the_update_of_the_whole_batch():
    """With spectral norm, whose `u` the loop sets back for each part."""
    images, labels = make_batch(batch=BATCH)
    whole, parts = make_sgd_gan(), make_sgd_gan(accumulation=4)
    latents = whole.draw_latents(BATCH, [0, 0])
    arguments = images[0], labels[0], *latents
    expected = whole.update_discriminator(*arguments)
    scalars = parts.update_discriminator(*arguments)
    check_equal(parts.discriminator, whole.discriminator, scalars, expected)


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("accumulation", [2, 4])
def test_discriminator_update_is_that_of_the_whole_batch(accumulation):
    whole, parts = make_sgd_gan(), make_sgd_gan(accumulation=accumulation)
    before = values(whole.discriminator.trainable_variables)
    scalars, expected = d_update(parts), d_update(whole)
    check_equal(parts.discriminator, whole.discriminator, scalars, expected)
    check_equal(parts.generator, whole.generator, {}, {})
    assert updates_applied(parts.d_optimizer) == 1
    moved = [
        np.abs(weight - old).max()
        for weight, old in zip(
            whole.discriminator.trainable_variables, before, strict=True
        )
    ]
    assert min(moved) > 1e-4  # Ten times the tolerance.


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("accumulation", [2, 4])
def test_generator_update_without_batch_norm_is_that_of_the_whole_batch(
    accumulation, monkeypatch
):
    normalize = BatchNorm._normalize_fused
    monkeypatch.setattr(
        BatchNorm,
        "_normalize_fused",
        lambda layer, *arguments: normalize(layer, *arguments[:3], False),
    )
    whole, parts = make_sgd_gan(), make_sgd_gan(accumulation=accumulation)
    scalars, expected = g_update(parts), g_update(whole)
    check_equal(parts.generator, whole.generator, scalars, expected)
    assert updates_applied(parts.g_optimizer) == 1


@pytest.mark.usefixtures("run_eagerly")
def test_generator_update_normalises_each_micro_batch():
    gan = make_sgd_gan(accumulation=2)
    before = values(gan.generator.trainable_variables)
    scalars = g_update(gan)
    latents, labels = gan.draw_latents(BATCH, [0, 0])
    halves = []
    for half in (slice(0, BATCH // 2), slice(BATCH // 2, BATCH)):
        # A GAN of its own for each, so that nothing is carried over.
        halves.append(make_sgd_gan().g_gradients(latents[half], labels[half]))
    (first, first_scalars), (second, second_scalars) = halves
    for weight, old, one, other in zip(
        gan.generator.trainable_variables, before, first, second, strict=True
    ):
        np.testing.assert_allclose(
            weight, old - (one + other) / 2, rtol=1e-5, atol=1e-5
        )
    loss = (first_scalars["g_loss"] + second_scalars["g_loss"]) / 2
    assert float(scalars["g_loss"]) == pytest.approx(float(loss), rel=1e-5)
    assert gan.generator.norm.updates.numpy() == 2


@pytest.mark.usefixtures("run_eagerly")
def test_an_update_makes_one_power_iteration():
    gan = make_sgd_gan(accumulation=4)
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
        g_update_peak(make_gan(accumulation=accumulation, base_channels=8))
        for accumulation in (1, 4)
    )
    assert parts < 0.7 * whole  # An allocator rounds.


@pytest.mark.usefixtures("run_eagerly")
def test_float16_skips_an_update_if_one_micro_batch_is_not_finite():
    gan = make_gan(precision="mixed_float16", accumulation=2)
    gan.d_optimizer.dynamic_scale.assign(64.0)
    images, labels = make_batch(batch=BATCH)
    latents = gan.draw_latents(BATCH, [0, 0])
    last = tf.range(BATCH)[:, None, None, None] == BATCH - 1
    bad = tf.where(last, np.inf, images[0])
    weights = values(gan.discriminator.trainable_variables)
    gan.update_discriminator(bad, labels[0], *latents)
    for weight, old in zip(
        gan.discriminator.trainable_variables, weights, strict=True
    ):
        np.testing.assert_array_equal(weight, old)
    assert updates_applied(gan.d_optimizer) == 0
    assert loss_scale(gan.d_optimizer) == 32.0

    gan.update_discriminator(images[0], labels[0], *latents)
    assert updates_applied(gan.d_optimizer) == 1


def test_a_batch_that_cannot_be_cut_is_refused():
    gan = make_gan(accumulation=3)
    with pytest.raises(ValueError, match="accumulation is 3.* batch of 8"):
        g_update(gan)
