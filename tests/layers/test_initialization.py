"""Initial weights are a function of the seed and the variable's place."""

from functools import partial

import numpy as np
import pytest

from sagan.discriminator import build_discriminator
from sagan.evaluation.classifier import ClassifierNetwork
from sagan.generator import build_generator
from sagan.layers.initialization import initialize, layer_paths

SIZE = {
    "image_size": 32,
    "base_channels": 2,
    "attention_resolutions": (16,),
}


def weights(network, seed=0):
    """Returns the weights that are drawn, by layer and name."""
    initialize(network, seed)
    return {
        f"{path}.{name}": getattr(layer, name).numpy()
        for path, layer in layer_paths(network).items()
        for name in ("kernel", "u")
        if hasattr(layer, name)
    }


MAKE = {
    "generator": partial(build_generator, **SIZE),
    "discriminator": partial(build_discriminator, **SIZE),
    "classifier": lambda: ClassifierNetwork(32, 3, 4, ((4,), (8,)), 8),
}


@pytest.mark.parametrize("kind", MAKE)
def test_the_seed_decides_alone(kind):
    first, second = (weights(MAKE[kind]()) for _ in range(2))
    np.testing.assert_equal(first, second)
    other = weights(MAKE[kind](), seed=1)
    assert len(first) >= 4
    for name, value in first.items():
        assert np.all(np.any(value != other[name])), name
        # No two variables share their numbers.
        same = [k for k, v in first.items() if np.array_equal(v, value)]
        assert same == [name]


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_arms_start_equal_except_for_what_they_vary(kind):
    first = weights(MAKE[kind]())
    for change in (
        {"attention_resolutions": ()},
        {"attention": "paper"},
        {"attention": "residual"},
        {"spectral_norm": False},
        {"num_classes": 3},
        {"pointwise": "gemm"},
    ):
        other = weights(MAKE[kind](**change))
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
    network.norm.gain.assign([3.0] * 64)
    kernel = weights(network)["blocks[0].conv1.kernel"]
    limit = np.sqrt(6 / (9 * (64 + 64)))
    assert np.abs(kernel).max() <= limit
    np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.02)
    # What takes no seed is left.
    np.testing.assert_array_equal(network.norm.gain, [3.0] * 64)


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_orthogonal_kernels_have_orthonormal_rows_or_columns(kind):
    network = MAKE[kind](initializer="orthogonal")
    count = 0
    for name, kernel in weights(network).items():
        if name.endswith(".kernel"):
            matrix = kernel.reshape(-1, kernel.shape[-1])
            short = matrix.T if len(matrix) > matrix.shape[1] else matrix
            np.testing.assert_allclose(
                short @ short.T, np.eye(len(short)), atol=1e-5, err_msg=name
            )
            count += 1
    assert count >= 9
