"""FID extrapolated to infinitely many samples."""

import numpy as np

from sagan.metrics.checks import check_features
from sagan.metrics.fid import Moments, frechet_distance


def fid_infinity(
    mean: np.ndarray,
    covariance: np.ndarray,
    fake: np.ndarray,
    num_points: int = 15,
    fewest: int | None = None,
    seed: int = 0,
) -> float:
    """Extrapolates the bias of FID away.

    FID of `n` samples is on average FID of infinitely many plus about a
    constant over `n`, and the constant depends on the generator: two may change
    places. So FID is computed for several `n`, and a line through it over `1 /
    n` is read at zero. What the real images add is not removed. The latents are
    pseudo-random, where the authors' package draws a Sobol sequence.

    Args:
        mean: Mean of real features, `[features]`, float.
        covariance: Their covariance, `[features, features]`, float.
        fake: Features of generated images, `[samples, features]`, float.
        num_points: Number of `n`, evenly spaced.
        fewest: The smallest `n`; None for a tenth of the samples, as there,
            but at least two a feature.
        seed: Seed for the samples of each `n`.

    Returns:
        The intercept, which may be slightly negative.

    Raises:
        ValueError: If `fake` has less than twice the `fewest` samples.

    Source: Chong and Forsyth (2020), arXiv:1911.07023, section 3.1, and
    score_infinity.py of mchong6/FID_IS_infinity.
    """
    fake = check_features(fake, "fake")
    count, num_features = fake.shape
    fewest = fewest or max(count // 10, 2 * num_features)
    if count < 2 * fewest:
        raise ValueError(
            f"fake has {count} samples of {num_features} features; expected "
            f"{2 * fewest} or more for a line. Keep more of them."
        )
    rng = np.random.default_rng(seed)
    counts = np.linspace(fewest, count, num_points).astype(int)
    distances = []
    for n in counts:
        moments = Moments(num_features)
        moments.update(fake[rng.permutation(count)[:n]])
        distances.append(
            frechet_distance(mean, covariance, moments.mean, moments.covariance)
        )
    _, intercept = np.polyfit(1.0 / counts, distances, 1)
    return float(intercept)
