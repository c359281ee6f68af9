"""Recipes of other codebases against what their files say."""

import pathlib
import re

import gin
import numpy as np
import pytest
import tensorflow as tf
from random_weights import randomize
from reference_networks import discriminate, generate

from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.gan import GAN
from sagan.generator import build_generator
from sagan.optimizers import make_optimizers
from sagan.runs.resume import flatten

FOLDER = pathlib.Path(__file__).parents[1] / "configs" / "recipes"
# Channels of the 4x4 layer and of each block of the generator; of each block
# of the discriminator; blocks that halve. As in the files of the sources.
AT_32 = (256,) * 4, (128,) * 4, 2
AT_128 = (1024, 1024, 512, 256, 128, 64), (64, 128, 256, 512, 1024, 1024), 5
SLIM_128 = AT_128[0], (8, 16, 32, 64, 128, 128), 5
# Networks, classes, channels of attention in both, parameters of both here,
# resolutions of attention; batch size, rates, betas, discriminator updates,
# steps, flips.
RECIPES = {
    "mimicry_cifar10": (
        (AT_32, 10, 256, 128, 4_386_308, 1_075_586, 16, 8),
        (64, 2e-4, 2e-4, 0.0, 0.9, 5, 100_000, False),
    ),
    "mimicry_celeba128": (
        (SLIM_128, 0, 256, 16, 32_232_708, 601_818, 32, 32),
        (64, 2e-4, 2e-4, 0.0, 0.9, 2, 100_000, False),
    ),
    "studiogan_cifar10": (
        (AT_32, 10, 256, 128, 4_386_308, 1_075_586, 16, 16),
        (64, 2e-4, 2e-4, 0.5, 0.999, 5, 100_000, True),
    ),
    "studiogan_imagenet128": (
        (AT_128, 1000, 128, 64, 42_017_412, 39_448_258, 64, 64),
        (256, 1e-4, 4e-4, 0.0, 0.999, 1, 1_000_000, True),
    ),
    "biggan_pytorch_imagenet128": (
        (AT_128, 1000, 128, 64, 42_017_412, 39_448_258, 64, 64),
        (256, 1e-4, 4e-4, 0.0, 0.999, 1, 1_000_000, False),
    ),
    "tfgan_imagenet128": (
        (AT_128, 1000, 256, 128, 42_078_852, 39_463_618, 32, 32),
        (1024, 1e-4, 4e-4, 0.0, 0.999, 1, 2_300_000, False),
    ),
}
each_recipe = pytest.mark.parametrize("name", RECIPES)
# One recipe for each place of attention: made narrow, the others are the same.
BY_STRUCTURE = {
    (networks[0][2], *networks[-2:]): name
    for name, (networks, _) in RECIPES.items()
}


def _conv(side, inputs, outputs):
    return side * side * inputs * outputs + outputs


def _attention(channels):
    """f, g: C/8; h: C/2; the projection back; gamma."""
    eighth, half = channels // 8, channels // 2
    return channels * (2 * eighth + half) + half * channels + 1


def count_generator(widths, classes, attended, per_class=None):
    """Parameters by the layers of the sources, with 128 latents."""
    pairs = list(zip(widths, widths[1:], strict=False))
    tables = 2 * max(1, classes) * sum(a + b for a, b in pairs)
    blocks = sum(
        _conv(3, a, b) + _conv(3, b, b) + _conv(1, a, b) for a, b in pairs
    )
    last = 2 * widths[-1] + _conv(3, widths[-1], 3)
    first = 129 * 16 * widths[0]
    return (
        first
        + blocks
        + (tables if per_class is None else per_class(pairs))
        + _attention(attended)
        + last
    )


def count_discriminator(widths, halvings, classes, attended, narrow=False):
    """Likewise; `narrow` blocks are as wide inside as at their input."""
    first, total = widths[0], 0
    total += _conv(3, 3, first) + _conv(3, first, first) + _conv(1, 3, first)
    for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False), 1):
        inside = a if narrow else b
        total += _conv(3, a, inside) + _conv(3, inside, b)
        if i < halvings or a != b:
            total += _conv(1, a, b)
    return total + _attention(attended) + widths[-1] + 1 + classes * widths[-1]


def _parse(name, *bindings):
    parse_config([str(FOLDER / f"{name}.gin")], bindings)


def test_each_file_is_tested():
    assert {path.stem for path in FOLDER.glob("*.gin")} == RECIPES.keys()


@each_recipe
def test_settings_are_those_of_the_source(name):
    _parse(name)
    values = flatten(gin.config_str())
    get = values.get
    optimizer = {
        key: get(f"make_optimizers.{key}", default)
        for key, default in {
            "g_learning_rate": 1e-4,
            "d_learning_rate": 4e-4,
            "g_beta_1": 0.0,
            "d_beta_1": 0.0,
            "g_beta_2": 0.999,
            "d_beta_2": 0.999,
        }.items()
    }
    batch, g_rate, d_rate, beta_1, beta_2, d_steps, steps, flip = RECIPES[name][
        1
    ]
    assert list(optimizer.values()) == [
        *(g_rate, d_rate, beta_1, beta_1, beta_2, beta_2)
    ]
    assert values["make_dataset.batch_size"] == batch
    assert get("make_dataset.flip", False) is flip
    assert get("train.d_steps", 1) == d_steps
    assert values["train.num_steps"] == steps
    # PyTorch's momentum of 0.1; TF-GAN keeps the released decays.
    decay = 0.999 if name.startswith("tfgan") else 0.9
    assert get("build_generator.batch_norm_decay", 0.999) == decay


@each_recipe
def test_parameters_are_those_of_the_source(name):
    """By its layers; of those networks, `test_networks.py` builds the large."""
    ((g, d, halvings), classes, g_attended, d_attended, *expected) = RECIPES[
        name
    ][0]
    assert count_generator(g, classes, g_attended) == expected[0]
    assert count_discriminator(d, halvings, classes, d_attended) == expected[1]
    header = re.sub(r"\n#\s*", " ", (FOLDER / f"{name}.gin").read_text())
    assert f"{expected[0]:,}" in header
    assert f"{expected[1]:,}" in header
    _parse(name)
    for make, widths, count in (
        (build_generator, g, expected[0]),
        (build_discriminator, d, expected[1]),
    ):
        if max(widths) <= 256:
            variables = make().trainable_variables
            assert count == sum(np.prod(v.shape, dtype=int) for v in variables)


def test_parameters_that_cannot_be_matched_are_counted():
    """What the headers say of the sources' own networks."""
    g, _, halvings = AT_128

    def shared(pairs):
        """An embedding of 128, and linear maps of it without bias."""
        return 1000 * 128 + 2 * 128 * sum(a + b for a, b in pairs)

    assert count_generator(g, 1000, 128, shared) == 33_550_980
    slim = count_discriminator(SLIM_128[1], halvings, 1, 16, narrow=True)
    assert slim == 454_946


@pytest.mark.parametrize("name", BY_STRUCTURE.values())
def test_losses_of_a_step_are_the_hinge_of_the_source(name):
    """On fixed inputs, of narrow networks in float64, without spectral norm."""
    networks = "build_generator", "build_discriminator"
    _parse(
        name,
        *(f"{network}.base_channels = 2" for network in networks),
        *(f"{network}.spectral_norm = False" for network in networks),
        *(f"{network}.num_classes = 3" for network in networks),
        "build_generator.class_spectral_norm = False",
    )
    generator, discriminator = build_generator(), build_discriminator()
    for seed, network in enumerate((generator, discriminator)):
        randomize(network, seed)
    gan = GAN(generator, discriminator, generator, *make_optimizers(False))
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, [2, *generator.image_shape]).astype(np.float32)
    latents = rng.normal(size=[2, generator.latent_dim]).astype(np.float32)
    labels, fake_labels = np.array([[0, 2], [1, 0]], np.int32)
    (*_, halvings), *_, g_at, d_at = RECIPES[name][0]
    fakes = generate(generator, tf.cast(latents, tf.float64), fake_labels, g_at)
    real, fake = (
        discriminate(discriminator, x, y, halvings, d_at).numpy()
        for x, y in ((np.float64(images), labels), (fakes, fake_labels))
    )
    d_loss = np.mean(np.maximum(0, 1 - real)) + np.mean(np.maximum(0, 1 + fake))
    inputs = latents, fake_labels
    found = gan.d_gradients(images, labels, *inputs)[1]["d_loss"]
    np.testing.assert_allclose(found, d_loss, rtol=1e-4)
    found = gan.g_gradients(*inputs)[1]["g_loss"]
    np.testing.assert_allclose(found, -np.mean(fake), rtol=1e-4, atol=1e-4)
