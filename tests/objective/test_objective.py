"""What the networks minimise: each choice reaches the updates of a step."""

import gin
import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan, open_gates, reset, values

from sagan.losses import LOSSES
from sagan.objective.objective import Objective
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
    images, labels, *drawn = gan.d_inputs(*real_batch(), [0, 0])
    latents, fake_labels, _ = drawn
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


def d_gradients(gan, objective, step=0, images=None):
    """Returns gradients and scalars of an update from the initial state."""
    gan.objective = objective
    gan.step.assign(step)
    real, labels = real_batch()
    real = real if images is None else images
    return gan.d_gradients(*gan.d_inputs(real, labels, [0, 0]))


def differ(first, second):
    pairs = zip(first, second, strict=True)
    return max(float(tf.reduce_max(tf.abs(a - b))) for a, b in pairs)


def check_close(found, expected):
    """Checks gradients to a thousandth of their norms."""
    least = 1e-5 * max(float(tf.norm(e)) for e in expected)
    for one, other in zip(found, expected, strict=True):
        bound = 1e-3 * float(tf.norm(other)) + least
        assert float(tf.norm(one - other)) <= bound


def test_gradient_penalties_have_half_their_weight_and_come_every_nth_step(
    gan, made
):
    plain, scalars = d_gradients(gan, Objective())
    assert "r1" not in scalars
    added = {}
    for name in ("r1", "r2"):
        reset(*made)
        found, scalars = d_gradients(gan, Objective(**{name: 2.0}))
        assert float(scalars[name]) > 0
        added[name] = [f - p for f, p in zip(found, plain, strict=True)]
        assert max(float(tf.norm(a)) for a in added[name]) > 1e-3
    assert differ(added["r1"], added["r2"]) > 1e-3
    both = Objective(r1=1.0, r2=3.0, penalty_every=3)
    reset(*made)
    found, scalars = d_gradients(gan, both, step=2)
    expected = [
        p + 3 * (0.5 * a + 1.5 * b)
        for p, a, b in zip(plain, *added.values(), strict=True)
    ]
    check_close(found, expected)
    reset(*made)
    found, scalars = d_gradients(gan, both, step=1)
    assert float(scalars["r1"]) == float(scalars["r2"]) == 0.0
    assert differ(found, plain) == 0.0


EVERYTHING = Objective(
    loss="relativistic",
    augmentations=("color", "translation", "cutout"),
    r1=1.0,
    r2=1.0,
    real_consistency=10.0,
    fake_consistency=5.0,
    d_orthogonality=1e-2,
    g_orthogonality=1e-2,
)


@pytest.mark.parametrize(
    "change", [("accumulation", 2), ("joint_batch", False)]
)
def test_all_at_once_is_the_same_in_micro_batches_and_two_calls(
    gan, made, monkeypatch, change
):
    expected, expected_scalars = d_gradients(gan, EVERYTHING)
    reset(*made)
    monkeypatch.setattr(gan, *change)
    found, scalars = d_gradients(gan, EVERYTHING)
    check_close(found, expected)
    for name, value in expected_scalars.items():
        np.testing.assert_allclose(
            scalars[name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("augmentations", ("color",)),
        ("augmentations", ("cutout",)),
        ("real_consistency", 10.0),
        ("fake_consistency", 10.0),
        ("d_orthogonality", 1e-2),
    ],
)
def test_each_setting_changes_the_discriminators_gradients(
    gan, made, setting, value
):
    plain, _ = d_gradients(gan, Objective())
    reset(*made)
    found, scalars = d_gradients(gan, Objective(**{setting: value}))
    assert differ(found, plain) > 1e-4
    assert setting == "augmentations" or float(scalars[setting]) > 0


@pytest.mark.parametrize(
    "settings",
    [{"augmentations": ("translation",)}, {"g_orthogonality": 1e-2}],
)
def test_these_change_the_generators_gradients(gan, made, settings):
    gradients = []
    for objective in (Objective(), Objective(**settings)):
        reset(*made)
        gan.objective = objective
        inputs = gan.g_inputs(*real_batch(), [0, 0])
        gradients.append(gan.g_gradients(*inputs)[0])
    assert differ(*gradients) > 1e-4


def test_lecam_starts_at_its_step_from_the_last_means():
    objective = Objective(lecam=0.5, lecam_decay=0.75, lecam_start=1)
    gan = make_gan(objective=objective, attention_resolutions=())
    start = values(gan.variables())
    assert any(v is gan.anchors for v in gan.variables())
    assert gan.trackables()["anchors"] is gan.anchors
    inputs = gan.d_inputs(*real_batch(), [0, 0])
    first = gan.update_discriminator(*inputs)
    means = [float(first["real_logits"]), float(first["fake_logits"])]
    np.testing.assert_allclose(gan.anchors, means, 1e-6)
    gan.step.assign(1)
    second = gan.update_discriminator(*inputs)
    other = [float(second["real_logits"]), float(second["fake_logits"])]
    expected = 0.75 * np.array(means) + 0.25 * np.array(other)
    np.testing.assert_allclose(gan.anchors, expected, 1e-5)
    # The term weighs nothing before its start, and its weight afterwards.
    norms = []
    for step in (0, 1):
        reset(gan, start)
        gan.anchors.assign([2.0, -2.0])
        gan.step.assign(step)
        gradients, scalars = gan.d_gradients(*inputs)
        norms.append(gradients)
    assert float(scalars["lecam"]) > 0
    assert differ(*norms) > 1e-3


@pytest.mark.parametrize(
    "bad", ["color", ["colour"], ["color", "cutout", "color"]]
)
def test_unknown_augmentations_are_refused(bad):
    with pytest.raises(ValueError, match="augmentations is .*expected a list"):
        make_objective(augmentations=bad)
