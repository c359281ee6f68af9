"""Initial weights are a function of the seed and the variable's place."""

import keras
import numpy as np
import pytest

from sagan.discriminator import build_discriminator
from sagan.evaluation.classifier import ClassifierNetwork
from sagan.generator import build_generator
from sagan.layers.initialization import initialize, layer_paths

SIZE = {"image_size": 32, "base_channels": 2}


def weights(network, seed=0):
    """Returns the weights that are drawn, by layer and name."""
    initialize(network, seed)
    return {
        f"{path}.{name}": getattr(layer, name).numpy()
        for path, layer in layer_paths(network).items()
        for name in ("kernel", "u")
        if hasattr(layer, name)
    }


def make_classifier():
    return ClassifierNetwork(32, 3, 4, ((4,), (8,)), 8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: build_generator(**SIZE, attention_resolutions=(16,)),
        lambda: build_discriminator(**SIZE, attention_resolutions=(16,)),
        make_classifier,
    ],
)
def test_the_seed_decides_alone(make):
    first, second = weights(make()), weights(make())
    np.testing.assert_equal(first, second)
    other = weights(make(), seed=1)
    assert len(first) >= 4
    for name, value in first.items():
        assert np.all(np.any(value != other[name])), name
        # No two variables share their numbers.
        same = [k for k, v in first.items() if np.array_equal(v, value)]
        assert same == [name]


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
@pytest.mark.parametrize(
    "change",
    [
        {"attention_resolutions": ()},
        {"attention": "paper"},
        {"attention": "residual"},
        {"spectral_norm": False},
        {"num_classes": 3},
        {"pointwise": "gemm"},
    ],
)
def test_arms_start_equal_but_for_what_they_vary(build, change):
    base = {**SIZE, "attention_resolutions": (16,)}
    first, other = weights(build(**base)), weights(build(**base | change))
    shared = [
        name
        for name in first.keys() & other.keys()
        if first[name].shape == other[name].shape
    ]
    assert len([n for n in shared if n.endswith("kernel")]) >= 10
    for name in shared:
        np.testing.assert_array_equal(first[name], other[name], name)


def test_weights_have_the_spread_of_their_initializer():
    network = build_generator(image_size=32, base_channels=16)
    kernel = weights(network)["blocks[0].conv1.kernel"]
    limit = np.sqrt(6 / (9 * (64 + 64)))
    assert np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)


def test_what_takes_no_seed_is_left():
    network = build_generator(**SIZE)
    network.norm.gain.assign([3.0] * 8)
    keras.utils.set_random_seed(1)
    initialize(network, 0)
    np.testing.assert_array_equal(network.norm.gain, [3.0] * 8)
