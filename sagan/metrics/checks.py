"""Validation of feature arrays."""

import numpy as np


def check_features(
    features: np.ndarray, name: str, fewest: int = 2
) -> np.ndarray:
    """Returns validated features as an array, without a copy.

    Args:
        features: `[samples, features]`, float.
        name: Their name in messages.
        fewest: Minimum number of samples.

    Raises:
        ValueError: If the shape differs, if there are fewer samples, or if one
            contains a NaN or an infinity.
    """
    features = np.asarray(features)
    if features.ndim != 2 or features.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {list(features.shape)}; expected "
            "[samples, features]. Pool or flatten each sample to one vector."
        )
    if len(features) < fewest:
        raise ValueError(
            f"{name} has {len(features)} samples; at least {fewest} are "
            "needed. Embed more images."
        )
    index = first_not_finite(features)
    if index is not None:
        raise ValueError(
            f"{name}: sample {index} is not finite; expected no NaN and no "
            "infinity. Look at its image, or at a network in float16."
        )
    return features


def check_pair(
    real: np.ndarray, fake: np.ndarray, fewest: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Returns two validated sets of features as arrays, without a copy.

    Args:
        real: Features of real images, `[samples, features]`, float.
        fake: Features of generated images, of the same length, float.
        fewest: Minimum number of samples of each.

    Raises:
        ValueError: As for `check_features`, or if their lengths differ.
    """
    real = check_features(real, "real", fewest)
    fake = check_features(fake, "fake", fewest)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real has {real.shape[1]} features a sample and fake has "
            f"{fake.shape[1]}; expected the same number. Embed both with one "
            "network."
        )
    return real, fake


def first_not_finite(features: np.ndarray) -> int | None:
    """Returns the index of the first row with a NaN or infinity, or None."""
    finite = np.isfinite(features).all(axis=1)
    return None if finite.all() else int(finite.argmin())
