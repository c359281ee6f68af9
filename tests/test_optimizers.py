"""The two optimisers: rates, betas, and the scaled loss of float16."""

import gin
import keras
import numpy as np
import pytest
import tensorflow as tf

from sagan.optimizers import loss_scale, make_optimizers, updates_applied

SETTINGS = {
    "g_learning_rate": 0.01,
    "d_learning_rate": 0.03,
    "g_beta_1": 0.1,
    "d_beta_1": 0.5,
    "g_beta_2": 0.7,
    "d_beta_2": 0.95,
    "epsilon": 1e-3,
}


def _variable(value=1.0):
    return keras.Variable([value, -value], dtype="float32")


def _adam(gradients, rate, beta_1, beta_2, epsilon):
    """Sum of Adam's updates (Kingma and Ba, algorithm 1), in float64.

    Epsilon is added before the bias correction, as in their section 2.
    """
    first = second = total = 0.0
    for t, gradient in enumerate(gradients, start=1):
        first = beta_1 * first + (1 - beta_1) * gradient
        second = beta_2 * second + (1 - beta_2) * gradient**2
        rate_t = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        total -= rate_t * first / (np.sqrt(second) + epsilon)
    return total


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("mixed_float16", [False, True])
def test_rates_and_betas_reach_their_optimizer(mixed_float16, fused):
    optimizers = make_optimizers(mixed_float16, **SETTINGS, fused_adam=fused)
    gradients = np.array([[1.0, 0.2], [-3.0, 0.1], [0.5, 0.4]])
    for optimizer, name in zip(optimizers, "gd", strict=True):
        variable = _variable()
        optimizer.build([variable])
        for gradient in gradients:
            scale = loss_scale(optimizer)
            optimizer.apply([tf.constant(scale * gradient, tf.float32)])
        expected = [1.0, -1.0] + _adam(
            gradients,
            SETTINGS[f"{name}_learning_rate"],
            SETTINGS[f"{name}_beta_1"],
            SETTINGS[f"{name}_beta_2"],
            SETTINGS["epsilon"],
        )
        np.testing.assert_allclose(variable, expected, rtol=1e-5)
        assert updates_applied(optimizer) == 3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_fused_update_is_that_of_keras_with_its_state(jit_compile):
    """To the rounding of each step, from the state that Keras left."""
    gradients = tf.random.stateless_normal([6, 2, 50], [0, 1])
    found = []
    for fused in (False, True):
        switch, _ = make_optimizers(False, **SETTINGS, fused_adam=False)
        variables = [keras.Variable(tf.ones([50])), keras.Variable(tf.ones([]))]
        switch.build(variables)
        for i, (vector, scalar) in enumerate(gradients):
            switch.fused = fused and i >= 3
            apply = tf.function(switch.apply, jit_compile=jit_compile)
            apply([vector, scalar[0]])
        found.append([v.numpy() for v in (*variables, *switch.variables)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_the_defaults_are_those_of_the_released_code():
    generator, discriminator = make_optimizers(mixed_float16=False)
    np.testing.assert_allclose(generator.learning_rate, 1e-4, rtol=1e-6)
    np.testing.assert_allclose(discriminator.learning_rate, 4e-4, rtol=1e-6)
    for optimizer in (generator, discriminator):
        assert isinstance(optimizer, keras.optimizers.Adam)
        assert (optimizer.beta_1, optimizer.beta_2) == (0.0, 0.999)
        assert optimizer.epsilon == 1e-8


def test_gin_binds_each_rate():
    gin.parse_config("make_optimizers.g_learning_rate = 0.5")
    generator, discriminator = make_optimizers(False)
    assert generator.learning_rate == 0.5
    np.testing.assert_allclose(discriminator.learning_rate, 4e-4, rtol=1e-6)


@pytest.mark.parametrize("mixed_float16", [False, True])
def test_the_loss_is_scaled_under_float16_only(mixed_float16):
    scale = 2.0**15 if mixed_float16 else 1.0
    for optimizer in make_optimizers(mixed_float16):
        optimizer.build([_variable()])
        assert loss_scale(optimizer) == scale
        loss = optimizer.scale_loss(tf.constant(3.0))
        np.testing.assert_array_equal(loss, 3.0 * scale)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_non_finite_update_is_skipped_and_halves_the_scale(bad):
    generator, discriminator = make_optimizers(mixed_float16=True)
    variable, other = _variable(), _variable()
    generator.build([variable])
    discriminator.build([other])
    apply = tf.function(generator.apply)
    apply([tf.constant([1.0, bad])])
    np.testing.assert_array_equal(variable, [1.0, -1.0])
    assert updates_applied(generator) == 0
    assert loss_scale(generator) == 2.0**14
    assert loss_scale(discriminator) == 2.0**15
    apply([tf.constant([1.0, 1.0])])
    assert np.all(variable.numpy() < [1.0, -1.0])
    assert updates_applied(generator) == 1
    assert loss_scale(generator) == 2.0**14


def test_updates_count_from_zero():
    for optimizer in make_optimizers(mixed_float16=False):
        optimizer.build([_variable()])
        for count in range(3):
            assert updates_applied(optimizer) == count
            optimizer.apply([tf.ones([2])])


def test_rates_rise_stay_and_fall_by_training_steps():
    optimizers = make_optimizers(
        mixed_float16=False,
        d_steps=2,
        g_learning_rate=0.4,
        d_learning_rate=0.8,
        warmup_steps=4,
        decay_start=6,
        decay_end=10,
    )
    # Of steps 0, 1, ...; each discriminator rate is that of two updates.
    factors = [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    for optimizer, rate, updates in zip(
        optimizers, (0.4, 0.8), (1, 2), strict=True
    ):
        variable = _variable()
        optimizer.build([variable])
        for factor in np.repeat(factors, updates):
            assert float(optimizer.learning_rate) == pytest.approx(
                rate * factor, abs=1e-7
            )
            before = variable.numpy()
            optimizer.apply([tf.ones([2])])
            # Without momentum, Adam moves by its rate.
            np.testing.assert_allclose(
                before - variable.numpy(), rate * factor, 1e-3, 1e-6
            )


def test_a_scaled_loss_has_a_schedule_too():
    generator, _ = make_optimizers(mixed_float16=True, decay_end=4)
    generator.build([_variable()])
    rates = []
    for _ in range(4):
        rates.append(float(generator.learning_rate))
        generator.apply([tf.ones([2])])
    expected = 1e-4 * np.array([1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("decay_end", [0, 3, 5])
def test_a_fall_that_ends_before_it_starts_is_refused(decay_end):
    with pytest.raises(ValueError, match="decay_end is .* after .*= 5"):
        make_optimizers(False, decay_start=5, decay_end=decay_end)
