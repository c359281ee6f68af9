"""The figures of public packages, on the same features and subsets.

Made once, under Python 3.11, with torch 2.13.0, numpy 2.4.6, scipy 1.17.1,
scikit-learn 1.9.1 and the packages below, from arrays in float64:

  pytorch-fid 0.3.0     calculate_frechet_distance of numpy.mean, numpy.cov
  clean-fid 0.1.35      fid.frechet_distance of the same; after
                        numpy.random.seed(2020), fid.kernel_distance(real,
                        fake, num_subsets=20, max_subset_size=size)
  torch-fidelity 0.4.0  fid_statistics_to_metric; kid_features_to_metric(fake,
                        real, kid_subsets=20, kid_subset_size=size,
                        rng_seed=2020); isc_features_to_metric(logits, splits,
                        shuffle, 2020)
  prdc 0.2              compute_prdc(real, fake, nearest_k)

KID packages draw their subsets from a seeded NumPy generator. Ours are drawn
from the same in the same order, so they are the same subsets.
"""

import numpy as np
import pytest

from sagan.metrics.fid import (
    Moments,
    feature_frechet_distance,
    frechet_distance,
)
from sagan.metrics.inception_score import inception_score
from sagan.metrics.kid import kernel_distance
from sagan.metrics.precision_recall import precision_recall_density_coverage

# Real samples, generated samples, features, seed.
FEW_FEATURES = (600, 500, 8, 0)
MANY_FEATURES = (900, 700, 64, 1)
EQUAL_NUMBERS = (400, 400, 32, 2)
SINGULAR = (40, 50, 96, 3)

# pytorch-fid (and clean-fid, equal to the last digit), torch-fidelity,
# relative tolerance. Of a singular product the packages add up roots of
# rounding, each about 1e-8; ours differs from them by 4e-8 in all.
FID = {
    FEW_FEATURES: (0.05458455562505016, 0.05458455562504838, 1e-12),
    MANY_FEATURES: (1.264770350759207, 1.2647703507593775, 1e-11),
    EQUAL_NUMBERS: (0.569993359872683, 0.5699933598726616, 1e-11),
    SINGULAR: (36.10825501031158, 36.1082550037483, 1e-7),
}

# Subset size: mean and deviation of torch-fidelity, mean of clean-fid.
KID = {
    (FEW_FEATURES, 250): (
        -0.0038933988357921835,
        0.036617067745082756,
        -0.003893398835791959,
    ),
    (MANY_FEATURES, 350): (
        0.011586100807129273,
        0.004793302730262953,
        0.011586100807128982,
    ),
    # Whole sets: what the deviation is here is rounding.
    (EQUAL_NUMBERS, 400): (
        -0.001359485066568844,
        5.329070535847271e-16,
        -0.0013594850665685954,
    ),
    (SINGULAR, 20): (
        0.029903854663573527,
        0.0714592770597913,
        0.029903854663573315,
    ),
}

# Precision, recall, density, coverage of prdc, by k.
PRDC = {
    (FEW_FEATURES, 3): (0.956, 0.9233333333333333, 1.0266666666666666, 0.83),
    (MANY_FEATURES, 5): (
        0.93,
        0.7266666666666667,
        1.7577142857142858,
        0.9922222222222222,
    ),
    (EQUAL_NUMBERS, 3): (0.8975, 0.765, 1.4041666666666668, 0.9325),
    (SINGULAR, 5): (0.94, 0.9, 1.328, 1.0),
}

# Samples, classes, seed of the logits; splits, seed of the order (None is
# shuffle=False); mean and deviation of torch-fidelity.
INCEPTION_SCORES = [
    (1003, 10, 0, 1, None, 3.9196712514204313, 0.0),
    (1003, 10, 0, 10, 2020, 3.842678987367852, 0.19892536337196431),
    (3000, 100, 1, 10, None, 12.459467925534195, 0.4474134434997697),
]


def _draw(num_real, num_fake, num_features, seed):
    """Correlated features, many of them zero as after a ReLU."""
    # The generator whose numbers NumPy promises never to change.
    rng = np.random.RandomState(seed)
    mixing = rng.standard_normal((num_features, num_features))
    mixing /= np.sqrt(num_features)
    real = rng.standard_normal((num_real, num_features)) @ mixing
    fake = 0.9 * rng.standard_normal((num_fake, num_features)) @ mixing + 0.1
    return np.maximum(real + 0.5, 0.0), np.maximum(fake + 0.5, 0.0)


@pytest.mark.parametrize("case", FID)
def test_fid(case):
    *references, tolerance = FID[case]
    moments = []
    for features in _draw(*case):
        streamed = Moments(features.shape[1])
        for batch in np.array_split(features, 9):
            streamed.update(batch)
        moments += [streamed.mean, streamed.covariance]
    for reference in references:
        expected = pytest.approx(reference, rel=tolerance)
        assert frechet_distance(*moments) == expected
        assert feature_frechet_distance(*_draw(*case)) == expected


@pytest.mark.parametrize(("case", "subset_size"), KID)
def test_kid(case, subset_size):
    mean, deviation, other_mean = KID[case, subset_size]
    actual = kernel_distance(*_draw(*case), 20, subset_size, seed=2020)
    # Sums of about 1 are subtracted, so the rounding is relative to 1.
    assert actual == pytest.approx((mean, deviation), rel=1e-12, abs=2e-15)
    assert actual[0] == pytest.approx(other_mean, rel=1e-12, abs=2e-15)


@pytest.mark.parametrize(("case", "k"), PRDC)
def test_precision_recall_density_coverage(case, k):
    actual = precision_recall_density_coverage(*_draw(*case), k)
    names = ("precision", "recall", "density", "coverage")
    expected = dict(zip(names, PRDC[case, k], strict=True))
    assert actual == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("count", "classes", "draw", "splits", "seed", "mean", "deviation"),
    INCEPTION_SCORES,
)
def test_inception_score(count, classes, draw, splits, seed, mean, deviation):
    rng = np.random.RandomState(draw)
    logits = 3.0 * rng.standard_normal((count, classes))
    assert inception_score(logits, splits, seed=seed) == pytest.approx(
        (mean, deviation), rel=1e-12
    )
