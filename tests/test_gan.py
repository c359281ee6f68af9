"""One training step: what moves, what stays, and what it depends on."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan, reset, values

from sagan.layers.spectral_norm import spectral_layers
from sagan.optimizers import loss_scale, updates_applied

EMA_START = 2


@pytest.fixture(scope="module")
def compiled():
    """A GAN whose graphs all tests share, and its initial state."""
    gan = make_gan(ema_decay=0.75, ema_start=EMA_START)
    return gan, values(gan.variables())


@pytest.fixture
def gan(compiled):
    reset(*compiled)
    return compiled[0]


def equal(first, second):
    return [np.array_equal(a, b) for a, b in zip(first, second, strict=True)]


def d_update(gan, images=None, seed=0):
    (real,), (labels,) = make_batch()
    images = real if images is None else images
    return gan.update_discriminator(
        images, labels, *gan.draw_latents(4, [seed, 0])
    )


def g_update(gan, seed=0):
    return gan.update_generator(*gan.draw_latents(4, [seed, 0]))


def test_discriminator_update_moves_only_the_discriminators_weights(gan):
    generator = values(gan.generator.trainable_variables)
    discriminator = values(gan.discriminator.trainable_variables)
    for seed in range(2):  # gamma is zero in the first, and moves in it
        d_update(gan, seed=seed)
    assert all(equal(generator, values(gan.generator.trainable_variables)))
    assert not any(
        equal(discriminator, values(gan.discriminator.trainable_variables))
    )


def test_generator_update_moves_only_the_generator(gan):
    discriminator = values(gan.discriminator.weights)
    generator = values(gan.generator.trainable_variables)
    for seed in range(2):
        g_update(gan, seed)
    assert all(equal(discriminator, values(gan.discriminator.weights)))
    # Rows of the class tables whose label was not drawn stay as they are, but
    # no variable as a whole does, except the biases that batch norm cancels.
    cancelled = {id(block.conv1.bias) for block in gan.generator.blocks}
    variables = gan.generator.trainable_variables
    same = equal(generator, values(variables))
    assert same == [id(variable) in cancelled for variable in variables]


def test_gradients_of_one_class_are_added_before_the_optimizer(gan):
    table = gan.generator.blocks[0].norm1.gain
    variables = gan.generator.trainable_variables
    gradients, _ = gan.g_gradients(*gan.draw_latents(8, [0, 0]))
    (gradient,) = (
        g for g, v in zip(gradients, variables, strict=True) if v is table
    )
    assert isinstance(gradient, tf.Tensor)
    assert gradient.shape == table.shape
    gan.g_optimizer.apply(gradients, variables)
    # So that Adam moves each entry by its rate in the first update.
    expected = 1.0 - 1e-4 * np.sign(gradient)
    np.testing.assert_allclose(table, expected, atol=2e-6)


def test_step_counts_updates_of_each_network(gan):
    for _ in range(2):
        gan.train_step(*make_batch(d_steps=2))
    assert gan.step.numpy() == 2
    assert updates_applied(gan.g_optimizer) == 2
    assert updates_applied(gan.d_optimizer) == 4


@pytest.mark.usefixtures("run_eagerly")
def test_every_update_of_every_step_draws_others_from_the_seed(monkeypatch):
    gan = make_gan(attention_resolutions=(), num_classes=0)
    draw, draws = gan.draw_latents, []

    def record(batch_size, seed):
        latents, labels = draw(batch_size, seed)
        draws.append(latents.numpy().tobytes())
        return latents, labels

    monkeypatch.setattr(gan, "draw_latents", record)
    for seed, d_steps in ((1, 2), (1, 2), (2, 1)):
        gan.seed = seed
        gan.train_step(*make_batch(d_steps, batch=1))
    assert len(draws) == len(set(draws)) == 8
    # They depend on seed and step alone.
    gan.seed = 1
    gan.step.assign(0)
    gan.train_step(*make_batch(batch=1))
    assert draws[8] == draws[0]


def test_latents_are_normal_and_labels_of_all_classes(gan):
    latents, labels = gan.draw_latents(2000, [3, 4])
    assert abs(np.mean(latents)) < 0.05
    assert abs(np.std(latents) - 1) < 0.05
    assert set(labels.numpy()) == {0, 1, 2}


def test_average_follows_then_lags(gan):
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

    batch = make_batch(d_steps=2)
    for _ in range(EMA_START):
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


def test_averaged_kernels_have_unit_spectral_norm(gan, monkeypatch):
    """A copied `u` would not belong to the averaged kernel."""
    monkeypatch.setattr(gan, "ema_decay", 0.5)
    gan.step.assign(EMA_START)
    for seed in range(40):
        g_update(gan, seed)
        gan.update_ema()
    for layer in spectral_layers(gan.ema_generator):
        kernel = layer.effective_kernel().numpy()
        sigma = np.linalg.svd(
            kernel.reshape(-1, kernel.shape[-1]), compute_uv=False
        )[0]
        assert sigma == pytest.approx(1.0, abs=0.05), layer.path


def test_a_step_computes_the_same_eagerly_as_a_graph(compiled, run_eagerly):
    """And under XLA: tests/endurance."""
    gan, state = compiled
    reset(gan, state)
    batch = make_batch(d_steps=2)
    expected = gan.train_step(*batch)
    reset(gan, state)
    tf.config.run_functions_eagerly(False)
    for name, value in gan.train_step(*batch).items():
        assert float(value) == pytest.approx(
            float(expected[name]), rel=1e-3, abs=1e-4
        ), name


def test_float16_logs_norms_without_the_scale_and_skips_what_is_not_finite(
    gan, run_eagerly
):
    half = make_gan(precision="mixed_float16")
    for optimizer in (half.g_optimizer, half.d_optimizer):
        optimizer.dynamic_scale.assign(64.0)  # The first scale overflows.
    expected = d_update(gan) | g_update(gan)
    found = d_update(half) | g_update(half)
    for name in ("g_gradient_norm", "d_gradient_norm"):
        assert float(found[name]) == pytest.approx(
            float(expected[name]), rel=0.1
        )
    weights = values(half.discriminator.trainable_variables)
    assert updates_applied(half.d_optimizer) == 1
    images = make_batch()[0][0]
    bad = tf.where(tf.range(32)[:, None, None] == 5, np.inf, images)
    assert not np.isfinite(float(d_update(half, bad)["d_loss"]))
    assert all(equal(weights, values(half.discriminator.trainable_variables)))
    assert updates_applied(half.d_optimizer) == 1
    assert loss_scale(half.d_optimizer) == 32.0


def test_losses_of_first_steps_agree_under_every_form_of_a_layer(
    gan, run_eagerly
):
    """Of each form alone, the gradients too: test_rewrites.py."""
    others = make_gan(pointwise="matmul"), make_gan(fused_fgh=True)
    losses = []
    for each in (gan, *others):
        steps = [d_update(each) | g_update(each) for _ in range(2)]
        losses.append([[float(s["d_loss"]), float(s["g_loss"])] for s in steps])
    # Rounding is 6e-8; the first updates of Adam amplify it, being of one
    # size however small a gradient is.
    for found in losses[1:]:
        np.testing.assert_allclose(found, losses[0], rtol=1e-5, atol=1e-5)
