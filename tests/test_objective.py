"""What the networks minimise: each choice reaches the updates of a step."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan, open_gates, reset, values

from sagan.losses import LOSSES
from sagan.objective import Objective
from sagan.training.assembly import make_objective

pytestmark = pytest.mark.usefixtures("run_eagerly")


@pytest.fixture(scope="module")
def made():
    gan = make_gan()
    open_gates(gan)
    return gan, values(gan.variables())


@pytest.fixture
def gan(made):
    reset(*made)
    made[0].objective = Objective()
    return made[0]


def real_batch():
    (images,), (labels,) = make_batch()
    return images, labels


def test_defaults_are_those_of_sagan():
    assert make_objective() == Objective() == Objective(loss="hinge")


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_updates_minimise_the_named_loss(gan, made, name):
    gin.parse_config(f"make_objective.loss = '{name}'")
    gan.objective = make_objective()
    loss = LOSSES[name]
    images, labels, latents, fake_labels = gan.d_inputs(*real_batch(), [0, 0])
    if loss.paired:
        np.testing.assert_array_equal(fake_labels, labels)
    fakes = gan.generator(latents, fake_labels, training=True)
    real = gan.discriminator(images, labels)
    fake = gan.discriminator(fakes, fake_labels)
    expected = loss.discriminator(real, fake)
    reset(*made)
    _, scalars = gan.d_gradients(images, labels, latents, fake_labels)
    assert float(scalars["d_loss"]) == pytest.approx(float(expected), rel=1e-5)
    reset(*made)
    inputs = gan.g_inputs(images, labels, [0, 0])
    gradients, scalars = gan.g_gradients(*inputs)
    expected = loss.generator(*(fake, real)[: 1 + loss.paired])
    assert float(scalars["g_loss"]) == pytest.approx(float(expected), rel=1e-5)
    norm = float(tf.linalg.global_norm(gradients))
    assert np.isfinite(norm)
    assert norm > 0


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="make_objective.loss is 'wgan'.*one"):
        make_objective(loss="wgan")
