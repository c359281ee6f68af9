"""Directions in latent space that change the images."""

import numpy as np

# As many as a person can make sense of.
NUM_DIRECTIONS = 10


def principal_directions(generator) -> tuple[np.ndarray, np.ndarray]:
    """Finds the latent directions that change the first layer's outputs most.

    The first layer is linear and latents are standard normal, so the principal
    components of its outputs are known from its kernel, without samples: their
    latent directions are the singular vectors.

    Args:
        generator: A `Generator`.

    Returns:
        Directions of length 1, `[directions, latent_dim]`, largest first, each
        with a positive largest value; and their shares of the variance.

    Source: Harkonen et al. (2020), arXiv:2004.02546, section 2.
    """
    kernel = np.asarray(generator.dense.effective_kernel(), np.float64)
    directions, values, _ = np.linalg.svd(kernel, full_matrices=False)
    directions = directions.T[:NUM_DIRECTIONS]
    largest = np.abs(directions).argmax(1)[:, None]
    directions *= np.sign(np.take_along_axis(directions, largest, 1))
    return directions, (values**2 / np.sum(values**2))[:NUM_DIRECTIONS]
