"""FID: the Fréchet distance between Gaussians fitted to features."""

import numpy as np

from sagan.metrics.checks import check_pair

# What rounding, in float32 too, leaves below zero in a covariance, as a
# fraction of its largest eigenvalue. More is no covariance.
_MOST_NEGATIVE = 1e-3


def frechet_distance(
    mean1: np.ndarray,
    covariance1: np.ndarray,
    mean2: np.ndarray,
    covariance2: np.ndarray,
) -> float:
    """Squared difference of means plus a distance of the covariances.

    `|mean1 - mean2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))`. Covariances may be
    singular or zero. Eigenvalues that rounding made negative count as zero.

    Args:
        mean1: `[features]`, float.
        covariance1: `[features, features]`, float.
        mean2: As `mean1`.
        covariance2: As `covariance1`.

    Returns:
        The distance, squared as FID is: at least zero, never complex.

    Raises:
        ValueError: If shapes differ, a number is not finite, or a covariance
            is not symmetric or clearly negative.

    Source: Heusel et al. (2017), arXiv:1706.08500, equation 6.
    """
    mean1 = _check_mean(mean1, "mean1")
    mean2 = _check_mean(mean2, "mean2")
    if mean1.shape != mean2.shape:
        raise ValueError(
            f"mean1 has {len(mean1)} features and mean2 has {len(mean2)}; "
            "expected the same number. Embed both sets with one network."
        )
    covariance1 = _check_covariance(covariance1, "covariance1", len(mean1))
    covariance2 = _check_covariance(covariance2, "covariance2", len(mean1))
    return _distance(
        mean1,
        _factor(covariance1, "covariance1"),
        mean2,
        _factor(covariance2, "covariance2"),
    )


def feature_frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """`frechet_distance` of the moments of features, without covariances.

    The same number, exact for fewer samples than features too, and then much
    faster: its matrices are as large as the smaller of the two.

    Args:
        real: Of real images, `[samples, features]`, float, at least two.
        fake: Of generated images, as many features, float, at least two.

    Raises:
        ValueError: If they are not such.
    """
    real, fake = check_pair(real, fake)
    return _distance(*_fit(real), *_fit(fake))


def few_samples_warning(num_samples: int, num_features: int) -> str | None:
    """Says why an FID of so few samples misleads, or nothing if it does not.

    Args:
        num_samples: Of the smaller set.
        num_features: Length of a feature vector.
    """
    if num_samples > num_features:
        return None
    return (
        f"{num_samples} samples give {num_features} features a singular "
        "covariance: FID is then mostly bias, and comparable at equal numbers "
        f"of samples only. Take more than {num_features}, or KID "
        "(kernel_distance), whose estimate is unbiased."
    )


def _distance(mean1, factor1, mean2, factor2):
    """The distance for covariances `F1' F1` and `F2' F2`.

    The trace of the root of their product is the sum of the singular values
    of `F1 F2'`. The root of the product itself, which is not symmetric, turns
    complex, and of a singular one it amplifies the rounding.
    """
    shift = mean1 - mean2
    overlap = np.linalg.svd(factor1 @ factor2.T, compute_uv=False).sum()
    traces = np.square(factor1).sum() + np.square(factor2).sum()
    # Rounding may leave slightly less than zero for equal Gaussians.
    return max(float(shift @ shift + traces - 2.0 * overlap), 0.0)


def _factor(covariance, name):
    """Returns F, `[rank, features]`, with `F' F` the covariance."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    if eigenvalues[0] < -_MOST_NEGATIVE * np.abs(eigenvalues).max():
        raise ValueError(
            f"{name} has the eigenvalue {eigenvalues[0]:.3g}; expected none "
            "below zero. Compute it as numpy.cov(features, rowvar=False) does."
        )
    # The bound of numpy.linalg.matrix_rank: the rest is rounding, whose root
    # is not small.
    rounding = np.finfo(np.float64).eps * len(covariance) * eigenvalues[-1]
    kept = eigenvalues > max(rounding, 0.0)
    return np.sqrt(eigenvalues[kept])[:, None] * vectors.T[kept]


def _fit(features):
    """Returns the mean and a factor of the covariance, as `_factor`."""
    mean = features.mean(axis=0, dtype=np.float64)
    factor = (features - mean) / np.sqrt(len(features) - 1.0)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")  # [features, features]
    return mean, factor


def _check_mean(mean, name):
    mean = np.asarray(mean, np.float64)
    if mean.ndim != 1 or not np.isfinite(mean).all():
        raise ValueError(
            f"{name} has shape {list(mean.shape)}; expected [features], all "
            "finite. Take Moments.mean."
        )
    return mean


def _check_covariance(covariance, name, num_features):
    covariance = np.asarray(covariance, np.float64)
    if covariance.shape != (num_features, num_features):
        raise ValueError(
            f"{name} has shape {list(covariance.shape)}; expected "
            f"[{num_features}, {num_features}] as for its mean. Take "
            "Moments.covariance."
        )
    if not np.isfinite(covariance).all():
        raise ValueError(
            f"{name} holds a NaN or an infinity; expected finite numbers. Take "
            "Moments.covariance, which refuses samples that are not finite."
        )
    rounding = 1e-5 * np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > rounding:
        raise ValueError(
            f"{name} is not symmetric; expected a covariance. Take "
            "Moments.covariance."
        )
    return (covariance + covariance.T) / 2.0
