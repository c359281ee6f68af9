"""FID: the Fréchet distance between Gaussians fitted to features."""

from collections.abc import Sequence

import numpy as np

from sagan.metrics.checks import check_pair, first_not_finite

# Negative eigenvalues that rounding, even in float32, explains in a covariance,
# relative to the largest eigenvalue.
_MOST_NEGATIVE = 1e-3


def frechet_distance(
    mean1: np.ndarray,
    covariance1: np.ndarray,
    mean2: np.ndarray,
    covariance2: np.ndarray,
) -> float:
    """Squared Fréchet distance of two Gaussians.

    `|mean1 - mean2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))`. Covariances may be
    singular or zero. Eigenvalues made negative by rounding count as zero.

    Args:
        mean1: `[features]`, float.
        covariance1: `[features, features]`, float.
        mean2: `[features]`, float.
        covariance2: `[features, features]`, float.

    Returns:
        The squared distance: at least zero, never complex.

    Raises:
        ValueError: If shapes differ, a number is not finite, or a covariance
            is not symmetric or clearly not positive semi-definite.

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
    """Fréchet distance computed from features, without their covariances.

    Equals `frechet_distance` of their moments. With fewer samples than
    features it is much faster: its matrices have the size of the smaller.

    Args:
        real: Features of real images, `[samples, features]`, float, at least
            two samples.
        fake: Features of generated images, likewise.

    Raises:
        ValueError: If the arrays are not as described.
    """
    real, fake = check_pair(real, fake)
    return _distance(*_fit(real), *_fit(fake))


def few_samples_warning(num_samples: int, num_features: int) -> str | None:
    """Returns a warning if FID of so few samples misleads, else None.

    Args:
        num_samples: Size of the smaller set.
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
    """Returns the distance for covariances `F1' F1` and `F2' F2`.

    The trace of the root of their product is the sum of the singular values of
    `F1 F2'`. The product is not symmetric, so its own root may be complex, and
    amplifies rounding if it is singular.
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
    # The bound of numpy.linalg.matrix_rank: below is rounding, whose root is
    # not small.
    rounding = np.finfo(np.float64).eps * len(covariance) * eigenvalues[-1]
    kept = eigenvalues > max(rounding, 0.0)
    return np.sqrt(eigenvalues[kept])[:, None] * vectors.T[kept]


def _fit(features):
    """Returns the mean and a factor of the covariance, as `_factor` does."""
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


def intra_class_fid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] = (),
) -> tuple[float, dict[int, float], list[str]]:
    """FID within each class, and its mean over classes.

    A generator that ignores its labels, or draws one image per class, may have
    a good FID but has a bad intra-class FID.

    Args:
        real: Features of real images, `[samples, features]`, float.
        real_labels: Their labels, `[samples]`, integer.
        fake: Features of generated images, likewise.
        fake_labels: Labels they were generated for, `[samples]`, integer.
        class_names: Names of the classes, for warnings; empty to show labels.

    Returns:
        The unweighted mean; the FID of each class in it, by label; and
        warnings about classes without two real and two generated samples,
        which are left out, and about those of fewer samples than features.

    Raises:
        ValueError: If the arrays are not as described, or no class can be
            scored.

    Source: Miyato and Koyama (2018), arXiv:1802.05637, section 5.1.
    """
    real, fake = check_pair(real, fake)
    real_labels = _check_labels(real_labels, "real_labels", len(real))
    fake_labels = _check_labels(fake_labels, "fake_labels", len(fake))
    counts = {
        int(label): min(
            np.count_nonzero(real_labels == label),
            np.count_nonzero(fake_labels == label),
        )
        for label in np.union1d(real_labels, fake_labels)
    }
    distances = {
        label: feature_frechet_distance(
            real[real_labels == label], fake[fake_labels == label]
        )
        for label, count in counts.items()
        if count >= 2
    }
    if not distances:
        raise ValueError(
            "No class has two real and two generated samples; expected at "
            "least one. Generate with the labels of the real images."
        )
    mean = float(np.mean(list(distances.values())))
    return mean, distances, _warnings(counts, real.shape[1], class_names)


def _warnings(counts, num_features, class_names):
    texts = []
    left_out = [
        class_names[label] if class_names else str(label)
        for label, count in counts.items()
        if count < 2
    ]
    if left_out:
        texts.append(
            f"{len(left_out)} of {len(counts)} classes are not in the mean, "
            "as they lack two real and two generated samples: "
            f"{_listed(left_out)}."
        )
    scored = [count for count in counts.values() if count >= 2]
    small = [n for n in scored if few_samples_warning(n, num_features)]
    if small:
        reason = few_samples_warning(min(small), num_features)
        texts.append(
            f"{len(small)} of {len(scored)} classes are small. As few as "
            f"{reason}"
        )
    return texts


def _listed(names):
    rest = ", ..." if len(names) > 10 else ""
    return ", ".join(names[:10]) + rest


def _check_labels(labels, name, num_samples):
    labels = np.asarray(labels)
    if labels.shape != (num_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has shape {list(labels.shape)} and dtype {labels.dtype}; "
            f"expected one integer a sample, [{num_samples}]. Take argmax of "
            "one-hot labels."
        )
    return labels


class Moments:
    """Streaming count, mean and covariance of features.

    Batches are combined about their own means, in float64: features with a
    large mean and a small spread lose no precision, and the order of batches
    affects only the last digits.

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
            features: `[samples, num_features]`, float; may be empty.

        Raises:
            ValueError: If the shape differs or a sample is not finite. The
                moments are then unchanged.
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
            total = self.count + len(features)
            shift = mean - self._mean
            weight = self.count * len(features) / total
            self._scatter += deviations.T @ deviations
            self._scatter += np.outer(shift, shift * weight)
            self._mean += shift * (len(features) / total)
            self.count = total

    @property
    def mean(self) -> np.ndarray:
        """Mean, `[num_features]`, float64; needs one sample."""
        self._require(1)
        return self._mean.copy()

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance, `[num_features, num_features]`, float64.

        As `numpy.cov`; needs two samples.
        """
        self._require(2)
        return self._scatter / (self.count - 1)

    def _require(self, fewest):
        if self.count < fewest:
            raise ValueError(
                f"Moments has {self.count} samples; at least {fewest} are "
                "needed. Call update() with more."
            )
