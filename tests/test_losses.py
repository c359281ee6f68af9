"""The losses: values, gradients, dtypes."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from sagan.losses import (
    LOSSES,
    LossName,
    hinge_discriminator_loss,
    hinge_generator_loss,
)

REAL = [[2.0], [0.5], [-1.0], [1.0]]
FAKE = [[-2.0], [0.5], [-0.25], [3.0]]


def test_discriminator_loss_is_the_hinge_of_both_halves():
    # max(0, 1 - real) = 0, .5, 2, 0; max(0, 1 + fake) = 0, 1.5, .75, 4.
    loss = hinge_discriminator_loss(tf.constant(REAL), tf.constant(FAKE))
    assert loss.shape == ()
    assert loss.numpy() == 2.5 / 4 + 6.25 / 4


def test_a_discriminator_that_says_nothing_has_loss_two():
    zeros = tf.zeros([5, 1])
    assert hinge_discriminator_loss(zeros, zeros).numpy() == 2.0
    assert hinge_generator_loss(zeros).numpy() == 0.0


def test_a_discriminator_past_both_margins_has_loss_zero():
    loss = hinge_discriminator_loss(tf.constant([[1.0]]), tf.constant([[-1.0]]))
    assert loss.numpy() == 0.0


def test_generator_loss_is_minus_the_mean_logit():
    assert hinge_generator_loss(tf.constant(FAKE)).numpy() == -1.25 / 4


def test_the_halves_may_have_different_sizes():
    loss = hinge_discriminator_loss(tf.zeros([2, 1]), tf.constant(FAKE))
    assert loss.numpy() == 1.0 + 6.25 / 4


def test_gradients_stop_at_the_margins_and_never_for_the_generator():
    real, fake = tf.constant(REAL), tf.constant(FAKE)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((real, fake))
        d_loss = hinge_discriminator_loss(real, fake)
        g_loss = hinge_generator_loss(fake)
    d_real, d_fake = tape.gradient(d_loss, (real, fake))
    # The third and second are inside the margin; at it, ReLU's slope is 0.
    np.testing.assert_array_equal(d_real[:, 0], [0.0, -0.25, -0.25, 0.0])
    np.testing.assert_array_equal(d_fake[:, 0], [0.0, 0.25, 0.25, 0.25])
    np.testing.assert_array_equal(tape.gradient(g_loss, fake), [[-0.25]] * 4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_are_float32_whatever_the_logits(dtype):
    # A float16 sum of these would overflow, a bfloat16 one lose the ones.
    logits = tf.concat([tf.fill([4, 1], 32768.0), tf.fill([4, 1], 1.0)], axis=0)
    logits = tf.cast(logits, dtype)
    d_loss = hinge_discriminator_loss(-logits, logits)
    g_loss = hinge_generator_loss(logits)
    assert d_loss.dtype == g_loss.dtype == tf.float32
    assert g_loss.numpy() == -(32768.0 + 1.0) / 2
    assert d_loss.numpy() == 32769.0 + 2.0


def log_sigmoid(values):
    return -np.log1p(np.exp(-np.float64(values)))


def test_losses_of_each_name_are_those_of_their_equations():
    real, fake = np.float64(REAL), np.float64(FAKE)
    expected = {
        "hinge": (8.75 / 4, -1.25 / 4),
        "non_saturating": (
            -np.mean(log_sigmoid(real)) - np.mean(log_sigmoid(-fake)),
            -np.mean(log_sigmoid(fake)),
        ),
        "wasserstein": (1.25 / 4 - 2.5 / 4, -1.25 / 4),
        "relativistic": (
            -np.mean(log_sigmoid(real - fake)),
            -np.mean(log_sigmoid(fake - real)),
        ),
    }
    assert expected.keys() == LOSSES.keys() == set(get_args(LossName))
    real, fake = tf.constant(REAL), tf.constant(FAKE)
    for name, (d_loss, g_loss) in expected.items():
        loss = LOSSES[name]
        logits = (fake, real) if loss.paired else (fake,)
        losses = loss.discriminator(real, fake), loss.generator(*logits)
        np.testing.assert_allclose(losses, (d_loss, g_loss), 1e-6, 0, name)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_large_logits_of_16_bits_have_a_finite_loss_in_float32(name):
    logits = tf.constant([[60000.0], [-60000.0]], tf.float16)
    loss = LOSSES[name]
    values = [
        loss.discriminator(logits, -logits),
        loss.generator(*[logits, -logits][: 1 + loss.paired]),
    ]
    for value in values:
        assert value.dtype == tf.float32
        assert np.isfinite(value)
