"""FID without bias, on Gaussians whose distance is known."""

import numpy as np
import pytest

from sagan.metrics.fid import Moments, frechet_distance
from sagan.metrics.fid_infinity import fid_infinity

FEATURES = 8
MEAN, COVARIANCE = np.zeros(FEATURES), np.eye(FEATURES)
SHIFT = np.linspace(-0.2, 0.2, FEATURES)
SPREAD = np.linspace(0.8, 1.3, FEATURES)
# Squared differences of means and, the covariances being diagonal, deviations.
EXACT = np.sum(SHIFT**2) + np.sum((SPREAD - 1.0) ** 2)


@pytest.mark.parametrize(
    ("shift", "spread", "exact"),
    [(0.0, 1.0, 0.0), (SHIFT, SPREAD, EXACT)],
    ids=["equal", "apart"],
)
def test_the_bias_is_gone(shift, spread, exact):
    plain, infinite = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        fake = shift + spread * rng.normal(size=(400, FEATURES))
        moments = Moments(FEATURES)
        moments.update(fake)
        plain.append(
            frechet_distance(MEAN, COVARIANCE, moments.mean, moments.covariance)
        )
        infinite.append(fid_infinity(MEAN, COVARIANCE, fake))
    # To first order, d/n for the mean and d (d + 1) / 4n for the covariance.
    bias = np.mean(plain) - exact
    expected = (FEATURES + FEATURES * (FEATURES + 1) / 4) / 400
    error = np.std(infinite) / np.sqrt(30)
    assert bias == pytest.approx(expected, rel=0.5)
    assert abs(np.mean(infinite) - exact) < 3 * error
    assert abs(np.mean(infinite) - exact) < 0.25 * bias


def test_the_line_is_through_fids_of_subsets():
    """With two numbers of samples, one of them all, it can be drawn by hand."""
    fake = np.random.default_rng(0).normal(size=(100, 3))
    found = fid_infinity(np.zeros(3), np.eye(3), fake, 2, fewest=50, seed=5)
    # The second permutation changes only the order of all samples.
    half = fake[np.random.default_rng(5).permutation(100)[:50]]
    low, high = (
        frechet_distance(
            np.zeros(3), np.eye(3), x.mean(0), np.cov(x, rowvar=False)
        )
        for x in (half, fake)
    )
    assert found == pytest.approx(2.0 * high - low, abs=1e-9)


def test_too_few_samples_are_refused():
    fake = np.random.default_rng(0).normal(size=(30, FEATURES))
    with pytest.raises(ValueError, match="fake has 30 samples .*expected 32"):
        fid_infinity(MEAN, COVARIANCE, fake)
