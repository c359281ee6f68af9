"""Mean and covariance of features that come in batches."""

import numpy as np

from sagan.metrics.checks import first_not_finite


class Moments:
    """Count, mean and covariance, so that no feature has to be kept.

    Batches are combined about their own means, in float64: features with a
    large mean and a small spread lose nothing, and the order of the batches
    changes only the last digits.

    Args:
        num_features: Length of a feature vector.

    Source: Chan, Golub and LeVeque (1979), "Updating formulae and a pairwise
    algorithm for computing sample variances".
    """

    def __init__(self, num_features: int):
        self.count = 0
        self._mean = np.zeros(num_features)
        # Sum of the outer products of the deviations from the mean.
        self._scatter = np.zeros((num_features, num_features))

    def update(self, features: np.ndarray) -> None:
        """Adds a batch.

        Args:
            features: `[samples, num_features]`, float; may hold no sample.

        Raises:
            ValueError: If the shape is another or a sample is not finite. The
                moments are then as before.
        """
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != len(self._mean):
            raise ValueError(
                f"features has shape {list(features.shape)}; expected "
                f"[samples, {len(self._mean)}]. Make Moments(num_features) for "
                "the network that embeds the images."
            )
        row = first_not_finite(features)
        if row is not None:
            raise ValueError(
                f"features: sample {self.count + row} (row {row} of this "
                "batch) is not finite; expected no NaN and no infinity. Look "
                "at its image, or at a network in float16."
            )
        if len(features):
            mean = features.mean(axis=0, dtype=np.float64)
            deviations = features - mean  # [samples, num_features]
            self._add(len(features), mean, deviations.T @ deviations)

    def merge(self, other: "Moments") -> None:
        """Adds all that another has seen.

        Raises:
            ValueError: If its features are not as many.
        """
        if len(other._mean) != len(self._mean):
            raise ValueError(
                f"other has {len(other._mean)} features; expected "
                f"{len(self._mean)}. Merge moments of one network."
            )
        if other.count:
            self._add(other.count, other._mean, other._scatter)

    @property
    def mean(self) -> np.ndarray:
        """`[num_features]`, float64. A ValueError without a sample."""
        self._require(1)
        return self._mean.copy()

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased, `[num_features, num_features]`, float64, as `numpy.cov`.

        A ValueError with fewer than two samples.
        """
        self._require(2)
        return self._scatter / (self.count - 1)

    def _add(self, count, mean, scatter):
        total = self.count + count
        shift = mean - self._mean
        self._scatter += scatter
        self._scatter += np.outer(shift, shift * (self.count * count / total))
        self._mean += shift * (count / total)
        self.count = total

    def _require(self, fewest):
        if self.count < fewest:
            raise ValueError(
                f"Moments has {self.count} samples; at least {fewest} are "
                "needed. Call update() with more."
            )
