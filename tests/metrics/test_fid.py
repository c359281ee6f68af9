"""The Fréchet distance against closed forms, and where roots fail."""

import numpy as np
import pytest

from sagan.metrics.fid import (
    Moments,
    feature_frechet_distance,
    few_samples_warning,
    frechet_distance,
)


def _draw(count, num_features, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(num_features, num_features))
    return rng.normal(size=(count, num_features)) @ mixing + rng.normal()


def _moments(features):
    return features.mean(0), np.cov(features, rowvar=False)


def _rotation(num_features, seed=0):
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.normal(size=(num_features, num_features)))[0]


def _textbook(mean1, covariance1, mean2, covariance2):
    """By the eigenvalues of the product, where it is well conditioned."""
    roots = np.sqrt(np.linalg.eigvals(covariance1 @ covariance2).real)
    traces = np.trace(covariance1) + np.trace(covariance2)
    return np.sum((mean1 - mean2) ** 2) + traces - 2.0 * roots.sum()


@pytest.mark.parametrize("count", [10, 100])
def test_the_distance_to_itself_is_zero(count):
    features = _draw(count, 20)
    mean, covariance = _moments(features)
    bound = 1e-12 * np.trace(covariance)
    assert 0.0 <= frechet_distance(mean, covariance, mean, covariance) < bound
    assert 0.0 <= feature_frechet_distance(features, features[::-1]) < bound


@pytest.mark.parametrize("count", [10, 100])
def test_it_is_symmetric(count):
    one, other = _draw(count, 20), _draw(50, 20, seed=1)
    there = frechet_distance(*_moments(one), *_moments(other))
    back = frechet_distance(*_moments(other), *_moments(one))
    assert there == pytest.approx(back, rel=1e-12)


def test_a_shift_of_the_mean_is_its_square():
    features, shift = _draw(100, 6), np.arange(6.0)
    distance = feature_frechet_distance(features, features + shift)
    assert distance == pytest.approx(55.0, rel=1e-12)
    mean, covariance = _moments(features)
    distance = frechet_distance(mean, covariance, mean + shift, covariance)
    assert distance == pytest.approx(55.0, rel=1e-12)


def test_in_one_dimension_it_is_of_means_and_deviations():
    distance = frechet_distance([1.0], [[4.0]], [4.0], [[0.25]])
    assert distance == pytest.approx(3.0**2 + 1.5**2, rel=1e-14)


def test_covariances_that_commute_have_a_closed_form():
    rng, rotation = np.random.default_rng(0), _rotation(12)
    one, other = rng.uniform(0.1, 3.0, (2, 12))
    mean = np.zeros(12)
    distance = frechet_distance(
        mean,
        rotation * one @ rotation.T,
        mean,
        rotation * other @ rotation.T,
    )
    expected = np.sum((np.sqrt(one) - np.sqrt(other)) ** 2)
    assert distance == pytest.approx(expected, rel=1e-12)


def test_it_is_the_textbook_formula():
    one, other = _draw(300, 10), _draw(200, 10, seed=1)
    expected = _textbook(*_moments(one), *_moments(other))
    actual = frechet_distance(*_moments(one), *_moments(other))
    assert actual == pytest.approx(expected, rel=1e-10)
    assert feature_frechet_distance(one, other) == pytest.approx(
        expected, rel=1e-10
    )


def test_rotation_of_both_changes_nothing():
    one, other, rotation = _draw(30, 8), _draw(40, 8, seed=1), _rotation(8)
    assert feature_frechet_distance(
        one @ rotation, other @ rotation
    ) == pytest.approx(feature_frechet_distance(one, other), rel=1e-12)


def test_streamed_moments_give_the_same():
    one, other = _draw(100, 9), _draw(120, 9, seed=1)
    streamed = []
    for features in (one, other):
        moments = Moments(9)
        for batch in np.array_split(features, 7):
            moments.update(batch)
        streamed += [moments.mean, moments.covariance]
    assert frechet_distance(*streamed) == pytest.approx(
        feature_frechet_distance(one, other), rel=1e-12
    )


# Of fewer samples than features the two ways share no matrix: one takes roots
# of covariances of rank below their size, the other has no covariance.
@pytest.mark.parametrize("counts", [(2, 2), (10, 15), (10, 400), (64, 65)])
def test_rank_deficient_covariances_lose_no_digits(counts):
    one, other = _draw(counts[0], 64), _draw(counts[1], 64, seed=1)
    assert frechet_distance(*_moments(one), *_moments(other)) == pytest.approx(
        feature_frechet_distance(one, other), rel=1e-11
    )


def test_a_spectrum_over_many_decades_loses_no_digits():
    scales = np.exp(-0.3 * np.arange(64))
    rng = np.random.default_rng(0)
    one = rng.normal(size=(300, 64)) * scales @ _rotation(64)
    other = rng.normal(size=(200, 64)) * scales @ _rotation(64, seed=1)
    assert frechet_distance(*_moments(one), *_moments(other)) == pytest.approx(
        feature_frechet_distance(one, other), rel=1e-10
    )


def test_a_collapsed_generator_has_a_finite_distance():
    features = _draw(100, 8)
    mean, covariance = _moments(features)
    nothing = np.zeros((8, 8))
    expected = np.trace(covariance)
    assert frechet_distance(mean, covariance, mean, nothing) == pytest.approx(
        expected, rel=1e-12
    )
    assert frechet_distance(mean, nothing, mean, nothing) == 0.0
    collapsed = np.tile(mean, (5, 1))
    assert feature_frechet_distance(features, collapsed) == pytest.approx(
        expected, rel=1e-12
    )


def test_eigenvalues_a_rounding_below_zero_count_as_zero():
    rotation = _rotation(6)
    exact = np.array([2.0, 1.0, 0.5, 0.0, 0.0, 0.0])
    rounded = exact - np.array([0.0, 0.0, 0.0, 1e-8, 1e-12, 1e-5])
    mean, other = np.zeros(6), np.eye(6)
    expected, actual = (
        frechet_distance(mean, rotation * w @ rotation.T, mean, other)
        for w in (exact, rounded)
    )
    assert actual == pytest.approx(expected, rel=1e-12)
    # Against itself too.
    covariance = rotation * rounded @ rotation.T
    assert frechet_distance(mean, covariance, mean, covariance) < 1e-12


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_are_summed_in_float64(dtype):
    one = _draw(300, 10).astype(dtype)
    other = _draw(200, 10, seed=1).astype(dtype)
    exact = feature_frechet_distance(
        one.astype(np.float64), other.astype(np.float64)
    )
    assert feature_frechet_distance(one, other) == pytest.approx(
        exact, rel=1e-12
    )


def test_few_samples_are_warned_of_and_kid_is_named():
    assert few_samples_warning(2049, 2048) is None
    for count in (2048, 100):
        text = few_samples_warning(count, 2048)
        assert str(count) in text
        assert "2048 features" in text
        assert "KID (kernel_distance)" in text


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({0: np.zeros((3, 1))}, r"mean1 has shape \[3, 1\]; expected"),
        ({2: np.zeros(4)}, "mean1 has 3 features and mean2 has 4"),
        ({3: np.eye(4)}, r"covariance2 has shape \[4, 4\]; expected \[3, 3\]"),
        ({2: np.full(3, np.nan)}, "mean2 .* finite"),
        ({1: np.full((3, 3), np.inf)}, "covariance1 holds a NaN"),
        ({1: np.triu(np.ones((3, 3)))}, "covariance1 is not symmetric"),
        ({3: -np.eye(3)}, "covariance2 has the eigenvalue -1"),
    ],
)
def test_what_is_no_mean_or_covariance_is_refused(changed, message):
    moments = [np.zeros(3), np.eye(3), np.zeros(3), np.eye(3)]
    for index, value in changed.items():
        moments[index] = value
    with pytest.raises(ValueError, match=message):
        frechet_distance(*moments)
