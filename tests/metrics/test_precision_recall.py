"""Precision, recall, density and coverage against loops over samples."""

import tracemalloc

import numpy as np
import pytest

from sagan.metrics.precision_recall import precision_recall_density_coverage


def _draw(count, num_features=3, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, num_features)) + shift


def _textbook(real, fake, k):
    """The definitions of section 3 of the paper, ball by ball."""

    def radius(samples, i):
        return np.sort(np.linalg.norm(samples - samples[i], axis=1))[k]

    across = np.linalg.norm(real[:, None] - fake[None], axis=2)
    in_real = np.stack([across[i] < radius(real, i) for i in range(len(real))])
    in_fake = np.stack(
        [across[:, j] < radius(fake, j) for j in range(len(fake))], axis=1
    )
    return {
        "precision": in_real.any(0).mean(),
        "recall": in_fake.any(1).mean(),
        "density": in_real.sum(0).mean() / k,
        "coverage": in_real.any(1).mean(),
    }


@pytest.mark.parametrize("k", [1, 3, 39])
def test_they_are_the_definitions(k):
    real, fake = _draw(60), _draw(40, shift=0.7, seed=1)
    assert precision_recall_density_coverage(real, fake, k) == pytest.approx(
        _textbook(real, fake, k), rel=1e-14
    )


@pytest.mark.parametrize("block_size", [1, 7, 1000])
def test_blocks_give_the_same_as_the_whole(block_size):
    real, fake = _draw(60), _draw(40, shift=0.7, seed=1)
    whole = precision_recall_density_coverage(real, fake)
    assert whole == precision_recall_density_coverage(
        real, fake, block_size=block_size
    )


def test_memory_is_that_of_a_block():
    real, fake = _draw(2000), _draw(2000, seed=1)
    tracemalloc.start()
    precision_recall_density_coverage(real, fake, block_size=32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The matrix of distances would be 32 MB.
    assert peak < 4e6


def test_equal_sets_are_all_within_each_other():
    # Integers about a mean of zero: no rounding decides who is on an edge.
    half = np.random.default_rng(0).integers(-(2**20), 2**20, (25, 3))
    real = np.concatenate([half, -half])
    assert precision_recall_density_coverage(real, real[::-1]) == {
        "precision": 1.0,
        "recall": 1.0,
        # A ball holds its own sample and k - 1 more; the k-th is on its edge.
        "density": pytest.approx(1.0, rel=1e-14),
        "coverage": 1.0,
    }


# The offset makes distances found from products round to more than nothing.
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_one_image_many_times_has_no_neighbourhood(offset):
    real = _draw(50) + offset
    image = real[3] + 0.01
    collapsed = np.tile(image, (20, 1))
    scores = precision_recall_density_coverage(real, collapsed)
    inside = np.linalg.norm(real - image, axis=1)
    radii = [
        np.sort(np.linalg.norm(real - sample, axis=1))[5] for sample in real
    ]
    assert scores == {
        "precision": 1.0,
        "recall": 0.0,
        "density": pytest.approx(np.sum(inside < radii) / 5),
        "coverage": np.mean(inside < radii),
    }
    scores = precision_recall_density_coverage(collapsed, real)
    assert scores["precision"] == scores["density"] == scores["coverage"] == 0
    assert set(
        precision_recall_density_coverage(collapsed, collapsed).values()
    ) == {0.0}


def test_copies_round_to_no_distance_at_any_number_of_features():
    # Norms and products of 2048 terms are summed in different orders.
    real = 100.0 * _draw(40, num_features=2048)
    copies = np.repeat(real[:4], 10, axis=0)
    scores = precision_recall_density_coverage(real, copies, block_size=16)
    assert scores["recall"] == 0.0
    assert scores["precision"] == 1.0


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_the_scale_of_features_does_not_matter(scale):
    real, fake = _draw(60), _draw(40, shift=0.7, seed=1)
    assert precision_recall_density_coverage(
        scale * real, scale * fake
    ) == precision_recall_density_coverage(real, fake)


def test_bad_input_is_refused():
    real, fake = _draw(20), _draw(10, seed=1)
    for k in (0, 10):
        with pytest.raises(ValueError, match=f"k is {k} .* expected 1 to 9"):
            precision_recall_density_coverage(real, fake, k)
    with pytest.raises(ValueError, match="block_size is 0"):
        precision_recall_density_coverage(real, fake, block_size=0)
    with pytest.raises(ValueError, match="Embed both with one network"):
        precision_recall_density_coverage(real, fake[:, :2])
    real[4] = np.nan
    with pytest.raises(ValueError, match="real: sample 4 is not finite"):
        precision_recall_density_coverage(real, fake)
