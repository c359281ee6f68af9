"""Gradients under 16-bit policies are those of float32, variable by variable.

Images are 32x32 and the batch is 64: sums of 16-bit numbers stall at some
hundred addends, so a small batch hides what is wrong with them.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf
from random_weights import randomize
from tiny_gan import make_gan

from sagan.data.synthetic import make_synthetic_images

BATCH = 64
# Rounding carries a share of the ReLUs across zero that is proportional to its
# size, and each of them changes a whole addend of a sum of many: an error that
# goes as the square root. Up to 2.3 of its units were seen. A bound of b on the
# error also holds the length to 1 - b and the cosine to sqrt(1 - b**2).
BOUNDS = {
    "mixed_bfloat16": 4.0 * 2.0**-4,
    "mixed_float16": 4.0 * 2.0**-5.5,
}
# Twice as many ReLUs one after another: up to 4.9 units were seen.
DEEPER = ("separable",)
# A bias before batch norm has no gradient: what is left of it is rounding,
# which is held to the gradient of the kernel beside it.
SMALLEST_BIAS = 0.02

CASES = {
    "conditional": {},
    "unconditional": {"num_classes": 0},
    "paper": {"attention": "paper"},
    "residual": {"attention": "residual"},
    "separable": {"block": "separable", "recalibrate": True},
    "accumulation": {"accumulation": 2},
    "class_tables": {"class_spectral_norm": True},
    # Other ways to the gradients of the first.
    "query_blocks": {"query_block": 48},
    "separate": {"joint_batch": False},
    "recompute": {"recompute": True},
}
SAME = ("query_blocks", "separate", "recompute")


@pytest.fixture(scope="module")
def gradients_in_float32():
    return functools.cache(lambda case: gradients(case, "float32"))


def gradients(case, precision):
    """Returns the gradients of both updates by network and path."""
    gan = make_gan(precision=precision, base_channels=4, **CASES[case])
    for optimizer in (gan.d_optimizer, gan.g_optimizer):
        if precision == "mixed_float16":
            # The initial scale overflows, which training finds out.
            optimizer.dynamic_scale.assign(2.0**8)
    for network in (gan.generator, gan.discriminator):
        randomize(network)
    images, labels = make_synthetic_images(BATCH, 32)
    images, labels = tf.constant(images / 127.5 - 1.0, tf.float32), labels % 3
    fakes = gan.draw_latents(BATCH, [0, 0])
    found = {}
    for network, (values, _), optimizer in (
        (
            gan.discriminator,
            gan.d_gradients(images, tf.constant(labels), *fakes),
            gan.d_optimizer,
        ),
        (gan.generator, gan.g_gradients(*fakes), gan.g_optimizer),
    ):
        scale = float(optimizer.scale_loss(tf.constant(1.0)))
        for i, (variable, value) in enumerate(
            zip(network.trainable_variables, values, strict=True)
        ):
            # Keras numbers the layers of a process: the place is unique.
            name = f"{network.name}/{i}/{variable.name}"
            assert value.dtype == tf.float32, name
            found[name] = np.float64(value) / scale
    return found


def least(name, expected):
    """Returns the norm that errors of a variable are relative to."""
    norm = np.linalg.norm(expected[name])
    network, i, kind = name.split("/")
    if kind == "bias":
        before = f"{network}/{int(i) - 1}/kernel"
        if before in expected:
            beside = np.linalg.norm(expected[before])
            norm = max(norm, SMALLEST_BIAS * beside)
    return norm


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize(
    ("case", "precision"),
    [
        *((case, "mixed_bfloat16") for case in CASES),
        # Sums of float16 are lost in the same places.
        *((case, "mixed_float16") for case in ("conditional", "separable")),
    ],
)
def test_every_gradient_is_that_of_float32(
    case, precision, gradients_in_float32
):
    expected = gradients_in_float32("conditional" if case in SAME else case)
    found = gradients(case, precision)
    assert expected.keys() == found.keys()
    bound, wrong = BOUNDS[precision], []
    if case in DEEPER:
        bound *= 2.0
    for name, value in expected.items():
        error, norm = np.linalg.norm(found[name] - value), least(name, expected)
        # Of a gate whose only hidden unit is off, both are zero.
        if not error <= bound * norm:
            wrong.append(f"{name}: {error:.3g} > {bound:.3f} of {norm:.3g}")
    assert not wrong, "\n".join(wrong)
