"""The Fréchet distance against closed forms, and moments of batches."""

import itertools

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


def test_a_shift_of_the_mean_is_its_square():
    features, shift = _draw(100, 6), np.arange(6.0)
    distance = feature_frechet_distance(features, features + shift)
    assert distance == pytest.approx(55.0, rel=1e-12)
    mean, covariance = _moments(features)
    distance = frechet_distance(mean, covariance, mean + shift, covariance)
    assert distance == pytest.approx(55.0, rel=1e-12)


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
    there = frechet_distance(*_moments(one), *_moments(other))
    back = frechet_distance(*_moments(other), *_moments(one))
    assert there == pytest.approx(expected, rel=1e-10)
    assert there == pytest.approx(back, rel=1e-12)
    assert feature_frechet_distance(one, other) == pytest.approx(
        expected, rel=1e-10
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


def test_features_are_summed_in_float64():
    one = _draw(300, 10).astype(np.float16)
    other = _draw(200, 10, seed=1).astype(np.float16)
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


def _features(count=60, num_features=5):
    return _draw(count, num_features) + 3.0


def _streamed(*batches):
    moments = Moments(batches[0].shape[1])
    for batch in batches:
        moments.update(batch)
    return moments


def _assert_close(moments, features, rtol=1e-12):
    assert moments.count == len(features)
    scale = np.abs(features - features.mean(0)).max()
    np.testing.assert_allclose(
        moments.mean, features.mean(0), rtol=rtol, atol=rtol * scale
    )
    np.testing.assert_allclose(
        moments.covariance,
        np.atleast_2d(np.cov(features, rowvar=False)),
        rtol=rtol,
        atol=rtol * scale**2,
    )


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 1, 0, 32, 20]])
def test_batches_give_the_mean_and_covariance_of_the_whole(sizes):
    features = _features()
    bounds = np.cumsum([0, *sizes])
    batches = [features[a:b] for a, b in itertools.pairwise(bounds)]
    _assert_close(_streamed(*batches), features)


def test_a_large_mean_costs_no_digits_of_the_covariance():
    features = _features(count=1000)
    moments = _streamed(*np.split(features + 2.0**26, 10))
    # The offset itself rounds the features, to 1e-8.
    np.testing.assert_allclose(
        moments.covariance, np.cov(features, rowvar=False), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_sums_are_in_float64(dtype):
    features = (10.0 * _features(count=500) ** 2 % 200).astype(dtype)
    moments = _streamed(*np.split(features, 5))
    assert moments.mean.dtype == moments.covariance.dtype == np.float64
    _assert_close(moments, features.astype(np.float64))


def test_one_feature_has_a_covariance_of_one_by_one():
    features = _features(num_features=1)
    moments = _streamed(features)
    assert moments.covariance.shape == (1, 1)
    _assert_close(moments, features)


def test_what_is_returned_is_a_copy():
    features = _features()
    moments = _streamed(features)
    moments.mean[:] = np.nan
    moments.covariance[:] = np.nan
    _assert_close(moments, features)


def test_a_sample_that_is_not_finite_is_named_and_nothing_is_added():
    features = _features()
    moments = _streamed(features[:10])
    batch = features[10:].copy()
    batch[4, 2], batch[9, 0] = -np.inf, np.nan
    with pytest.raises(ValueError, match=r"sample 14 \(row 4 of this batch\)"):
        moments.update(batch)
    moments.update(features[10:])
    _assert_close(moments, features)


def test_wrong_shapes_and_too_few_samples_are_refused():
    moments = Moments(5)
    for features in (np.ones((3, 4)), np.ones(5), np.ones((2, 5, 1))):
        with pytest.raises(ValueError, match=r"expected \[samples, 5\]"):
            moments.update(features)
    with pytest.raises(ValueError, match="0 samples; at least 1"):
        _ = moments.mean
    moments.update(np.ones((1, 5)))
    np.testing.assert_array_equal(moments.mean, np.ones(5))
    with pytest.raises(ValueError, match="1 samples; at least 2"):
        _ = moments.covariance
