"""KID: the squared maximum mean discrepancy between two sets of features."""

import numpy as np
from sklearn.metrics.pairwise import polynomial_kernel

from sagan.metrics.checks import check_pair


def kernel_distance(
    real: np.ndarray,
    fake: np.ndarray,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation of the distance between random subsets.

    Unbiased for any number of samples, so the mean may be slightly negative
    for equal distributions. The kernel is `(x . y / features + 1)^3`.

    The subsets are those of torch-fidelity 0.4 with `rng_seed=seed` (its
    default is 2020) and the generated images as `input1`.

    Args:
        real: Features of real images, `[samples, features]`, float.
        fake: Features of generated images, of the same length, float.
        num_subsets: Number of pairs of subsets.
        subset_size: Samples per subset; at most those of the smaller set,
            which `subset_warning` reports.
        seed: Seed for the subsets.

    Returns:
        Mean and standard deviation (divided by `num_subsets`) over pairs of
        subsets. As these overlap, it is not a standard error of the mean.

    Raises:
        ValueError: If an argument is not as described.

    Source: Binkowski et al. (2018), arXiv:1801.01401, section 4.
    """
    real, fake = check_pair(real, fake)
    if num_subsets < 1 or subset_size < 2:
        raise ValueError(
            f"num_subsets is {num_subsets} and subset_size {subset_size}; "
            "expected at least 1 and 2. The defaults are 100 and 1000."
        )
    size = min(subset_size, len(real), len(fake))
    # The NumPy generator that torch-fidelity uses.
    rng = np.random.RandomState(seed)
    distances = [
        _unbiased_distance(
            fake[rng.choice(len(fake), size, replace=False)],
            real[rng.choice(len(real), size, replace=False)],
        )
        for _ in range(num_subsets)
    ]
    return float(np.mean(distances)), float(np.std(distances))


def subset_warning(
    num_real: int, num_fake: int, subset_size: int = 1000
) -> str | None:
    """Returns a warning if `kernel_distance` uses smaller subsets, else None.

    Args:
        num_real: Number of real samples.
        num_fake: Number of generated samples.
        subset_size: As for `kernel_distance`.
    """
    size = min(num_real, num_fake)
    if subset_size <= size:
        return None
    return (
        f"KID is of subsets of {size} samples, not {subset_size}: there are "
        f"{num_real} real and {num_fake} generated ones. Its mean stays "
        "unbiased; its deviation is not that of the usual subsets."
    )


def _unbiased_distance(x, y):
    """Returns the unbiased distance of two sets of equal size."""
    # In float32 the difference of such close sums is mostly rounding.
    x, y = x.astype(np.float64), y.astype(np.float64)
    size = len(x)
    within = sum(_kernel(z, z, without_diagonal=True) for z in (x, y))
    return within / (size * (size - 1)) - 2.0 * _kernel(x, y) / size**2


def _kernel(x, y, without_diagonal=False):
    values = polynomial_kernel(x, y, degree=3, gamma=1 / x.shape[1], coef0=1)
    return values.sum() - (np.trace(values) if without_diagonal else 0.0)
