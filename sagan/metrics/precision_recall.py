"""Precision, recall, density and coverage of generated samples."""

from collections.abc import Iterator

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

from sagan.metrics.checks import check_pair

# Squared distances below this fraction of the squared norms count as zero:
# computed as differences of products they leave 1e-14 between copies, and the
# feature network rounds by more.
_SAME = 1e-12


def precision_recall_density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = 5, block_size: int = 256
) -> dict[str, float]:
    """Precision, recall, density and coverage from nearest neighbours.

    The neighbourhood of a sample is the open ball that reaches its k-th
    neighbour in its own set. It is empty for samples with k copies of
    themselves, so a generator that draws one image has recall 0.

    The definitions are those of the authors' package prdc 0.2.

    Args:
        real: Features of real images, `[samples, features]`, float, more than
            `k` samples.
        fake: Features of generated images, likewise.
        k: Number of neighbours; the paper uses 5.
        block_size: Rows of the distance matrix computed at a time. Affects
            only the memory: a few times `8 block_size samples` bytes, besides
            both sets in float64.

    Returns:
        "precision": fraction of generated samples in a real neighbourhood.
        "recall": fraction of real samples in a generated neighbourhood.
        "density": mean number of real neighbourhoods that contain a generated
        sample, divided by `k`; may exceed one.
        "coverage": fraction of real samples whose neighbourhood contains a
        generated sample.

    Raises:
        ValueError: If an argument is not as described.

    Source: Naeem et al. (2020), arXiv:2002.09797, section 3; precision and
    recall are from Kynkäänniemi et al. (2019), arXiv:1904.06991.
    """
    real, fake = check_pair(real, fake)
    _check_neighbours(k, block_size, len(real), len(fake))
    # Products of vectors with a large common mean would lose digits.
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
    """Returns the squared distances to the k-th neighbours, `[samples]`."""
    radii = np.empty(len(features))
    for rows, squared in _squared_distances(features, features, block_size):
        # Index 0 is the sample itself.
        radii[rows] = np.partition(squared, k, axis=1)[:, k]
    return radii


def _squared_distances(
    x: np.ndarray, y: np.ndarray, block_size: int
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields row slices of x and distances to y, `[block, samples of y]`."""
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
