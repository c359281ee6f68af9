"""Precision, recall, density, coverage: which sets lie within the other."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from sagan.metrics.checks import check_pair

# Squared distances below this fraction of the squared norms are zero. They
# are found as differences of products, which leave 1e-14 of copies, and the
# network that makes the features rounds by more.
_SAME = 1e-12


def precision_recall_density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = 5, block_size: int = 256
) -> dict[str, float]:
    """How far the neighbourhoods of real and generated samples overlap.

    The neighbourhood of a sample is the open ball that reaches its k-th
    neighbour in its own set. Samples with k copies of themselves have an
    empty one, so a generator that draws one image has recall 0.

    The definitions are those of the package prdc 0.2 by the authors.

    Args:
        real: Of real images, `[samples, features]`, float, more than `k`.
        fake: Of generated images, as many features, float, more than `k`.
        k: Neighbours; the paper takes 5.
        block_size: Rows of the matrix of distances at once. It sets the
            memory, of a few times `8 block_size samples` bytes beside both
            sets in float64, and not the result.

    Returns:
        "precision": fraction of generated samples in a real neighbourhood.
        "recall": fraction of real samples in a generated neighbourhood.
        "density": real neighbourhoods around a generated sample, by `k`; may
        exceed one.
        "coverage": fraction of real samples whose neighbourhood holds a
        generated one.

    Raises:
        ValueError: If arrays or numbers are not such.

    Source: Naeem et al. (2020), arXiv:2002.09797, section 3; precision and
    recall are from Kynkäänniemi et al. (2019), arXiv:1904.06991.
    """
    real, fake = check_pair(real, fake)
    _check_neighbours(k, block_size, len(real), len(fake))
    # Products of vectors with a large mean in common would lose digits.
    centre = real.mean(axis=0, dtype=np.float64)
    real, fake = real - centre, fake - centre
    real_radii = _radii(real, k, block_size)
    fake_radii = _radii(fake, k, block_size)
    around = np.zeros(len(fake), np.int64)
    recalled = np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for rows, squared in _squared_distances(real, fake, block_size):
        inside = squared < real_radii[rows, None]  # [block, fake samples]
        around += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        recalled[rows] = (squared < fake_radii).any(axis=1)
    return {
        "precision": float((around > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(around.mean() / k),
        "coverage": float(covered.mean()),
    }


def _radii(features, k, block_size):
    """Squared distances to the k-th neighbours, `[samples]`."""
    radii = np.empty(len(features))
    for rows, squared in _squared_distances(features, features, block_size):
        # At index 0 is the sample itself.
        radii[rows] = np.partition(squared, k, axis=1)[:, k]
    return radii


def _squared_distances(
    x: np.ndarray, y: np.ndarray, block_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields rows of x and their distances to y, `[block, samples of y]`."""
    x_norms, y_norms = (np.einsum("ij,ij->i", z, z) for z in (x, y))
    for start in range(0, len(x), block_size):
        rows = slice(start, start + block_size)
        squared = euclidean_distances(x[rows], y, squared=True)
        squared[squared < _SAME * np.add.outer(x_norms[rows], y_norms)] = 0.0
        yield rows, squared


def _check_neighbours(k, block_size, num_real, num_fake):
    smaller = min(num_real, num_fake)
    if not 1 <= k < smaller:
        raise ValueError(
            f"k is {k} for {num_real} real and {num_fake} generated samples; "
            f"expected 1 to {smaller - 1}. Take a smaller k or more samples."
        )
    if block_size < 1:
        raise ValueError(
            f"block_size is {block_size}; expected at least 1. The default is "
            "256."
        )
