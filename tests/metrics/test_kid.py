"""KID against sums over pairs, and that its mean has no bias."""

import itertools

import numpy as np
import pytest

from sagan.metrics.kid import kernel_distance, subset_warning


def _draw(count, num_features=4, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, num_features)) + shift


def _textbook(x, y):
    """The definition, pair by pair."""

    def kernel(a, b):
        return (np.dot(a, b) / len(a) + 1.0) ** 3

    def within(z):
        pairs = itertools.permutations(range(len(z)), 2)
        return np.mean([kernel(z[i], z[j]) for i, j in pairs])

    across = np.mean([kernel(a, b) for a in x for b in y])
    return within(x) + within(y) - 2.0 * across


def test_it_is_the_definition():
    real, fake = _draw(12), _draw(12, shift=0.5, seed=1)
    expected = pytest.approx(_textbook(real, fake), rel=1e-12)
    mean, deviation = kernel_distance(real, fake, num_subsets=3)
    assert mean == expected
    assert kernel_distance(fake, real, num_subsets=1)[0] == expected
    # Each subset is the whole set, in another order.
    assert deviation < 1e-12


def test_mean_and_deviation_are_over_the_subsets():
    real, fake = _draw(30), _draw(20, shift=0.5, seed=1)
    rng = np.random.RandomState(5)
    distances = []
    for _ in range(4):
        y = fake[rng.choice(20, 6, replace=False)]
        x = real[rng.choice(30, 6, replace=False)]
        distances.append(_textbook(x, y))
    assert kernel_distance(
        real, fake, num_subsets=4, subset_size=6, seed=5
    ) == pytest.approx((np.mean(distances), np.std(distances)), rel=1e-11)
    other, _ = kernel_distance(real, fake, 4, subset_size=6)
    assert other != pytest.approx(np.mean(distances))


def test_of_equal_distributions_it_is_zero_on_average():
    # At 10 samples a biased estimate would be about 1, its diagonal's share.
    real, fake = _draw(2000), _draw(2000, seed=1)
    mean, deviation = kernel_distance(
        real, fake, num_subsets=400, subset_size=10
    )
    assert abs(mean) < 4.0 * deviation / np.sqrt(400)
    assert deviation > 0.0


def test_collapse_is_finite_and_bad():
    real = _draw(50)
    mean, _ = kernel_distance(real, np.tile(real[:1], (50, 1)), 1)
    assert np.isfinite(mean)
    assert mean > 0.5
    same = np.ones((5, 4))
    assert kernel_distance(same, same, 2) == pytest.approx((0, 0), abs=1e-12)


def test_float32_features_are_summed_in_float64():
    real = _draw(50).astype(np.float32)
    fake = _draw(50, shift=0.01, seed=1).astype(np.float32)
    exact = kernel_distance(real.astype(np.float64), fake.astype(np.float64))
    assert kernel_distance(real, fake) == exact


def test_subsets_are_cut_to_the_smaller_set_which_is_reported():
    real, fake = _draw(30), _draw(20, seed=1)
    assert kernel_distance(real, fake, 3) == kernel_distance(
        real, fake, 3, subset_size=20
    )
    text = subset_warning(30, 20)
    assert "subsets of 20 samples, not 1000" in text
    assert "30 real and 20 generated" in text
    assert subset_warning(1000, 1200) is None
    assert subset_warning(30, 20, subset_size=20) is None


def test_bad_input_is_refused():
    real = _draw(20)
    with pytest.raises(ValueError, match="real has 4 features .* fake has 3"):
        kernel_distance(real, real[:, :3])
    with pytest.raises(ValueError, match="fake has 1 samples; at least 2"):
        kernel_distance(real, real[:1])
    with pytest.raises(ValueError, match=r"real has shape \[20\]; expected"):
        kernel_distance(real[:, 0], real)
    bad = real.copy()
    bad[7, 1] = np.nan
    with pytest.raises(ValueError, match="fake: sample 7 is not finite"):
        kernel_distance(real, bad)
    for numbers in ({"num_subsets": 0}, {"subset_size": 1}):
        with pytest.raises(ValueError, match="expected at least 1 and 2"):
            kernel_distance(real, real, **numbers)
