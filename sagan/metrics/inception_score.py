"""Inception score: whether images are clear and cover all classes."""

import numpy as np
from scipy.special import entr, softmax

from sagan.metrics.checks import check_features

# Rows in float64 at a time: 8 MB for 1008 classes.
_BLOCK_SIZE = 1024


def inception_score(
    predictions: np.ndarray,
    num_splits: int = 10,
    from_logits: bool = True,
    seed: int | None = 0,
) -> tuple[float, float]:
    """Exponential of the mean divergence of `p(y | x)` from `p(y)`, by splits.

    Computed as entropy of the mean minus mean entropy, in float64. Splits are
    consecutive parts of the shuffled samples, since samples sorted by class
    would give splits that lack classes. Equals torch-fidelity 0.4 with
    `rng_seed=seed` (its default is 2020); the script of Salimans et al. does
    not shuffle, as with `seed=None`.

    Args:
        predictions: Logits, or probabilities that sum to one, of an image
            classifier: `[samples, classes]`, float.
        num_splits: Number of parts scored separately, usually 1 or 10. More
            give a lower score, so only scores with equal splits compare.
        from_logits: Whether `predictions` are logits.
        seed: Seed for the order; None keeps the given order.

    Returns:
        Mean and standard deviation (divided by `num_splits`) over the splits.

    Raises:
        ValueError: If an argument is not as described.

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
        # The NumPy generator that torch-fidelity uses.
        order = np.random.RandomState(seed).permutation(count)
    bounds = [i * count // num_splits for i in range(num_splits + 1)]
    scores = [
        _score(predictions, order[start:stop], from_logits)
        for start, stop in zip(bounds[:-1], bounds[1:], strict=True)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _score(predictions, indices, from_logits):
    """Returns the score of the samples at `indices`, block by block."""
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
    # The tolerance is far above the rounding of a float32 softmax.
    off = np.abs(predictions.sum(axis=1, dtype=np.float64) - 1.0) > 1e-3
    off |= predictions.min(axis=1) < 0.0
    if off.any():
        raise ValueError(
            f"predictions: sample {int(off.argmax())} is no distribution; "
            "expected probabilities that sum to one. Logits need "
            "from_logits=True."
        )
