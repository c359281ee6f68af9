"""Moments of batches against those of the whole."""

import itertools

import numpy as np
import pytest

from sagan.metrics.fid import Moments


def _draw(count=60, num_features=5, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(num_features, num_features))
    return rng.normal(size=(count, num_features)) @ mixing + 3.0


def _moments(*batches):
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
    features = _draw()
    bounds = np.cumsum([0, *sizes])
    batches = [features[a:b] for a, b in itertools.pairwise(bounds)]
    _assert_close(_moments(*batches), features)


def test_the_order_of_batches_does_not_matter():
    features = _draw()
    batches = np.split(features, [10, 11, 40])
    for order in itertools.permutations(batches):
        _assert_close(_moments(*order), features)


def test_a_large_mean_costs_no_digits_of_the_covariance():
    features = _draw(count=1000)
    moments = _moments(*np.split(features + 2.0**26, 10))
    # The offset itself rounds the features, to 1e-8.
    np.testing.assert_allclose(
        moments.covariance, np.cov(features, rowvar=False), rtol=1e-6, atol=1e-7
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8])
def test_sums_are_in_float64(dtype):
    features = (10.0 * _draw(count=500) ** 2 % 200).astype(dtype)
    moments = _moments(*np.split(features, 5))
    assert moments.mean.dtype == moments.covariance.dtype == np.float64
    _assert_close(moments, features.astype(np.float64))


def test_one_feature_has_a_covariance_of_one_by_one():
    features = _draw(num_features=1)
    moments = _moments(features)
    assert moments.covariance.shape == (1, 1)
    _assert_close(moments, features)


def test_what_is_returned_is_a_copy():
    features = _draw()
    moments = _moments(features)
    moments.mean[:] = np.nan
    moments.covariance[:] = np.nan
    _assert_close(moments, features)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_named_and_nothing_is_added(bad):
    features = _draw()
    moments = _moments(features[:10])
    batch = features[10:].copy()
    batch[4, 2] = batch[9, 0] = bad
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
