"""One training step: what moves, what stays, and what it depends on."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan

from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.layers.spectral_norm import spectral_layers
from sagan.optimizers import loss_scale, updates_applied

pytestmark = pytest.mark.usefixtures("run_eagerly")


def values(variables):
    return [variable.numpy().copy() for variable in variables]


def equal(first, second):
    return [np.array_equal(a, b) for a, b in zip(first, second, strict=True)]


def test_discriminator_update_moves_only_the_discriminators_weights():
    gan = make_gan()
    images, labels = make_batch()
    generator = values(gan.generator.trainable_variables)
    discriminator = values(gan.discriminator.trainable_variables)
    for seed in range(2):  # gamma is zero in the first, and moves in it
        gan.update_discriminator(
            images[0], labels[0], *gan.draw_latents(4, [seed, 0])
        )
    assert all(equal(generator, values(gan.generator.trainable_variables)))
    assert not any(
        equal(discriminator, values(gan.discriminator.trainable_variables))
    )


def test_generator_update_moves_only_the_generator():
    gan = make_gan()
    discriminator = values(gan.discriminator.weights)
    generator = values(gan.generator.trainable_variables)
    for seed in range(2):
        gan.update_generator(*gan.draw_latents(4, [seed, 0]))
    assert all(equal(discriminator, values(gan.discriminator.weights)))
    moved = [
        not same
        for same in equal(generator, values(gan.generator.trainable_variables))
    ]
    # Rows of the class tables whose label was not drawn stay as they are, but
    # no variable as a whole does.
    assert all(moved)


def test_gradients_of_one_class_are_added_before_the_optimizer():
    gan = make_gan(num_classes=2)
    table = gan.generator.blocks[0].norm1.gain
    seen = {}
    apply = gan.g_optimizer.apply

    def record(gradients, variables):
        for gradient, variable in zip(gradients, variables, strict=True):
            seen[id(variable)] = gradient
        apply(gradients, variables)

    gan.g_optimizer.apply = record
    gan.update_generator(*gan.draw_latents(8, [0, 0]))
    gradient = seen[id(table)]
    assert isinstance(gradient, tf.Tensor)
    assert gradient.shape == table.shape
    # So that Adam moves each entry by its rate in the first update.
    expected = 1.0 - 1e-4 * np.sign(gradient)
    np.testing.assert_allclose(table, expected, atol=2e-6)


def test_step_counts_updates_of_each_network():
    gan = make_gan()
    for _ in range(2):
        gan.train_step(*make_batch(d_steps=3))
    assert gan.step.numpy() == 2
    assert updates_applied(gan.g_optimizer) == 2
    assert updates_applied(gan.d_optimizer) == 6


def test_draws_depend_on_seed_and_step_alone():
    first, same, other = make_gan(seed=1), make_gan(seed=1), make_gan(seed=2)
    batch = make_batch()
    losses = [
        float(gan.train_step(*batch)["g_loss"]) for gan in (first, same, other)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]

    latents, labels = first.draw_latents(2000, [3, 4])
    again, _ = first.draw_latents(2000, [3, 5])
    assert not np.array_equal(latents, again)
    assert abs(np.mean(latents)) < 0.05
    assert abs(np.std(latents) - 1) < 0.05
    assert set(labels.numpy()) == {0, 1, 2}


def test_every_update_of_a_step_draws_other_latents(monkeypatch):
    gan = make_gan()
    draws = []
    draw = gan.draw_latents

    def record(batch_size, seed):
        latents, labels = draw(batch_size, seed)
        draws.append(latents.numpy())
        return latents, labels

    monkeypatch.setattr(gan, "draw_latents", record)
    for _ in range(2):
        gan.train_step(*make_batch(d_steps=2))
    assert len(draws) == 6
    assert len({draw.tobytes() for draw in draws}) == 6


def test_average_follows_then_lags():
    gan = make_gan(ema_decay=0.75, ema_start=2)
    batch = make_batch()
    vectors = {id(layer.u) for layer in spectral_layers(gan.ema_generator)}
    averaged = [
        i
        for i, v in enumerate(gan.ema_generator.weights)
        if id(v) not in vectors
    ]
    assert len(averaged) < len(gan.ema_generator.weights)

    def state(network):
        weights = values(network.weights)
        return [weights[i] for i in averaged]

    for _ in range(2):
        gan.train_step(*batch)
        np.testing.assert_equal(state(gan.ema_generator), state(gan.generator))
    before = state(gan.ema_generator)
    gan.train_step(*batch)
    for old, new, average in zip(
        before, state(gan.generator), state(gan.ema_generator), strict=True
    ):
        np.testing.assert_allclose(
            average, 0.75 * old + 0.25 * new, rtol=1e-5, atol=1e-6
        )


def test_averaged_kernels_have_unit_spectral_norm():
    """A copied `u` would not belong to the averaged kernel."""
    gan = make_gan(ema_decay=0.5)
    for seed in range(40):
        gan.update_generator(*gan.draw_latents(4, [seed, 0]))
        gan.update_ema()
    for layer in spectral_layers(gan.ema_generator):
        kernel = layer.effective_kernel().numpy()
        sigma = np.linalg.svd(
            kernel.reshape(-1, kernel.shape[-1]), compute_uv=False
        )[0]
        assert sigma == pytest.approx(1.0, abs=0.05), layer.path


@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_step_computes_the_same(jit_compile):
    plain, compiled = make_gan(), make_gan(jit_compile=jit_compile)
    batch = make_batch(d_steps=2)
    expected = plain.train_step(*batch)
    tf.config.run_functions_eagerly(False)
    for name, value in compiled.train_step(*batch).items():
        assert float(value) == pytest.approx(
            float(expected[name]), rel=1e-3, abs=1e-4
        ), name


def test_float16_skips_an_update_that_is_not_finite():
    gan = make_gan(precision="mixed_float16")
    images, labels = make_batch()
    gan.d_optimizer.dynamic_scale.assign(64.0)
    weights = values(gan.discriminator.trainable_variables)
    applied = updates_applied(gan.d_optimizer)
    scale = loss_scale(gan.d_optimizer)
    bad = tf.where(tf.range(32)[:, None, None] == 5, np.inf, images)
    scalars = gan.train_step(bad, labels)
    assert not np.isfinite(float(scalars["d_loss"]))
    assert all(equal(weights, values(gan.discriminator.trainable_variables)))
    assert updates_applied(gan.d_optimizer) == applied
    assert loss_scale(gan.d_optimizer) == scale / 2


def test_logged_gradient_norm_is_without_the_loss_scale():
    batch = make_batch()
    full = make_gan().train_step(*batch)
    gan = make_gan(precision="mixed_float16")
    for optimizer in (gan.g_optimizer, gan.d_optimizer):
        optimizer.dynamic_scale.assign(64.0)  # The first scale overflows.
    half = gan.train_step(*batch)
    for name in ("g_gradient_norm", "d_gradient_norm"):
        assert float(half[name]) == pytest.approx(float(full[name]), rel=0.1)


@functools.cache
def losses_under(**settings):
    """Losses of two steps, float32, from the same weights and batch."""
    gan, batch = make_gan(**settings), make_batch()
    steps = [gan.train_step(*batch) for _ in range(2)]
    return [[float(s["d_loss"]), float(s["g_loss"])] for s in steps]


@pytest.mark.parametrize(
    "settings",
    [*({"pointwise": name} for name in IMPLEMENTATIONS), {"fused_fgh": True}],
    ids=str,
)
def test_losses_of_first_steps_agree_under_every_pointwise_layer(settings):
    # Rounding is 6e-8; the first updates of Adam amplify it, being of one
    # size however small a gradient is.
    np.testing.assert_allclose(
        losses_under(**settings), losses_under(), rtol=1e-5, atol=1e-5
    )
