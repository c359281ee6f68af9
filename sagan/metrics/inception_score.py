"""Inception score: are images clear, and are all classes among them."""

import numpy as np
from scipy.special import entr, softmax

from sagan.metrics.checks import check_features

# Rows in float64 at once: 8 MB of 1008 classes.
_BLOCK_SIZE = 1024


def inception_score(
    predictions: np.ndarray,
    num_splits: int = 10,
    from_logits: bool = True,
    seed: int | None = 0,
) -> tuple[float, float]:
    """Exponential of the mean divergence of `p(y | x)` from `p(y)`, by splits.

    It is computed as entropy of the mean minus mean entropy, in float64.
    Splits are consecutive parts of the samples in shuffled order: those of
    classes one after another would lack classes. torch-fidelity 0.4 gives the
    same with `rng_seed=seed` (its default is 2020); the script of Salimans et
    al. takes them in order, as `seed=None` does.

    Args:
        predictions: Logits, or probabilities that sum to one, of an image
            classifier: `[samples, classes]`, float.
        num_splits: Parts scored by themselves, 1 or 10 by custom. More give a
            lower score, so only scores of equal splits compare.
        from_logits: Whether `predictions` are logits.
        seed: Of the order; None keeps the given one.

    Returns:
        Mean and standard deviation (divided by `num_splits`) over the splits.

    Raises:
        ValueError: If arrays or numbers are not such.

    Source: Salimans et al. (2016), arXiv:1606.03498, section 4.
    """
    predictions = check_features(predictions, "predictions")
    count = len(predictions)
    if not 1 <= num_splits <= count:
        raise ValueError(
            f"num_splits is {num_splits} for {count} samples; expected 1 to "
            f"{count}. Use 1, or embed more images."
        )
    if not from_logits:
        _check_probabilities(predictions)
    order = np.arange(count)
    if seed is not None:
        # Of the generators of NumPy, the one that torch-fidelity draws from.
        order = np.random.RandomState(seed).permutation(count)
    bounds = [i * count // num_splits for i in range(num_splits + 1)]
    scores = [
        _score(predictions, order[start:stop], from_logits)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _score(predictions, indices, from_logits):
    """Score of the samples at `indices`, a block in memory at a time."""
    total = np.zeros(predictions.shape[1])
    entropy = 0.0
    for start in range(0, len(indices), _BLOCK_SIZE):
        rows = predictions[indices[start : start + _BLOCK_SIZE]]
        rows = rows.astype(np.float64)
        probabilities = softmax(rows, axis=1) if from_logits else rows
        total += probabilities.sum(axis=0)
        entropy += entr(probabilities).sum()
    count = len(indices)
    return np.exp(entr(total / count).sum() - entropy / count)


def _check_probabilities(predictions):
    # Far above the rounding of a softmax in float32.
    off = np.abs(predictions.sum(axis=1, dtype=np.float64) - 1.0) > 1e-3
    off |= predictions.min(axis=1) < 0.0
    if off.any():
        raise ValueError(
            f"predictions: sample {int(off.argmax())} is no distribution; "
            "expected probabilities that sum to one. Logits need "
            "from_logits=True."
        )
