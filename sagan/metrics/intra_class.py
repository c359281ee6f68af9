"""Intra-FID: one FID a class."""

import numpy as np

from sagan.metrics.checks import check_pair
from sagan.metrics.frechet import feature_frechet_distance, few_samples_warning


def intra_class_fid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
) -> tuple[float, dict[int, float], list[str]]:
    """FID within each class, and the mean over classes.

    A generator that ignores its labels, or draws one image a class, may have
    a good FID; it has a bad one here.

    Args:
        real: Of real images, `[samples, features]`, float.
        real_labels: `[samples]`, integers.
        fake: Of generated images, as many features, float.
        fake_labels: Labels they were generated for, `[samples]`, integers.

    Returns:
        The unweighted mean; the FID of each class in it, by label; and
        warnings to log: of classes left out for want of two real and two
        generated samples, and of classes of fewer samples than features.

    Raises:
        ValueError: If arrays are not such, or if no class can be scored.

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
    return mean, distances, _warnings(counts, real.shape[1])


def _warnings(counts, num_features):
    texts = []
    left_out = [str(label) for label, count in counts.items() if count < 2]
    if left_out:
        texts.append(
            f"{len(left_out)} of {len(counts)} classes are not in the mean, "
            "for want of two real and two generated samples: "
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
