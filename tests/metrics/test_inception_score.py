"""The inception score against its definition and its extremes."""

import numpy as np
import pytest
from scipy.special import softmax

from sagan.metrics import inception_score as module
from sagan.metrics.inception_score import inception_score


def _logits(count=103, classes=7, seed=0):
    return 3.0 * np.random.default_rng(seed).normal(size=(count, classes))


def _textbook(probabilities):
    marginal = probabilities.mean(0)
    divergences = probabilities * np.log(probabilities / marginal)
    return np.exp(divergences.sum(1).mean())


@pytest.mark.parametrize("splits", [1, 10, 103])
def test_it_is_the_definition_on_consecutive_splits(splits):
    logits = _logits()
    probabilities = softmax(logits, axis=1)
    bounds = [i * 103 // splits for i in range(splits + 1)]
    expected = [
        _textbook(probabilities[a:b])
        for a, b in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    assert inception_score(logits, splits, seed=None) == pytest.approx(
        (np.mean(expected), np.std(expected)), rel=1e-12, abs=1e-12
    )


def test_shuffling_deals_the_splits_by_the_seed():
    # Ordered by class, so that a split in this order lacks most classes.
    logits = 50.0 * np.eye(10)[np.repeat(np.arange(10), 100)]
    in_order, _ = inception_score(logits, 10, seed=None)
    assert in_order == pytest.approx(1.0, rel=1e-9)
    shuffled, _ = inception_score(logits, 10)
    assert shuffled > 9.0
    order = np.random.RandomState(3).permutation(1000)
    assert inception_score(logits, 10, seed=3) == inception_score(
        logits[order], 10, seed=None
    )
    # One split has no order, except in its rounding.
    assert inception_score(logits, 1)[0] == pytest.approx(
        inception_score(logits, 1, seed=None)[0], rel=1e-12
    )


def test_collapse_or_doubt_is_one_and_the_best_the_number_of_classes():
    sure = np.eye(10)[np.arange(200) % 10]
    score = inception_score(sure, 1, from_logits=False)
    assert score == pytest.approx((10.0, 0.0), rel=1e-12)
    for logits in (np.zeros((50, 10)), np.tile(_logits(1), (50, 1))):
        assert inception_score(logits, 5) == pytest.approx(
            (1.0, 0.0), rel=1e-12, abs=1e-12
        )


def test_probabilities_of_zero_are_finite():
    # In float64 the softmax of these is zero except for one class.
    logits = np.where(np.eye(4, 6)[[0, 1, 2, 3, 0]] > 0, 0.0, -2000.0)
    score, _ = inception_score(logits, 1)
    assert score == pytest.approx(
        inception_score(softmax(logits, axis=1), 1, from_logits=False)[0]
    )
    assert 3.0 < score < 4.0


def test_logits_and_their_probabilities_score_the_same():
    logits = _logits().astype(np.float32)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    exact = inception_score(logits, 10)
    assert inception_score(
        probabilities, 10, from_logits=False
    ) == pytest.approx(exact, rel=1e-12)
    assert inception_score(
        probabilities.astype(np.float32), 10, from_logits=False
    ) == pytest.approx(exact, rel=1e-5)


def test_blocks_give_the_same_as_the_whole(monkeypatch):
    logits = _logits()
    whole = inception_score(logits, 2)
    monkeypatch.setattr(module, "_BLOCK_SIZE", 7)
    assert inception_score(logits, 2) == pytest.approx(whole, rel=1e-12)


def test_bad_input_is_refused():
    logits = _logits()
    with pytest.raises(ValueError, match="num_splits is 104 for 103 samples"):
        inception_score(logits, 104)
    with pytest.raises(ValueError, match="expected 1 to 103"):
        inception_score(logits, 0)
    with pytest.raises(ValueError, match="1 samples; at least 2"):
        inception_score(logits[:1], 1)
    with pytest.raises(ValueError, match=r"shape \[103, 7, 1\]; expected"):
        inception_score(logits[..., None], 1)
    with pytest.raises(ValueError, match="sample 0 is no distribution"):
        inception_score(logits, 1, from_logits=False)
    negative = softmax(logits, axis=1)
    negative[5] = [-0.5, 1.5, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="sample 5 is no distribution"):
        inception_score(negative, 1, from_logits=False)
    logits[9, 3] = np.inf
    with pytest.raises(ValueError, match="sample 9 is not finite"):
        inception_score(logits, 1)
