"""Features of a set of images, from which scores are computed."""

import collections
import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from sagan.evaluation.features import FeatureNetwork
from sagan.metrics.fid import Moments
from sagan.runs.files import whole_file


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """Features of a set of images.

    Attributes:
        count: Number of images in the set.
        mean: Mean over all images, `[features]`, float64.
        covariance: Covariance over all images, `[features, features]`, float64.
        features: Features of the first images, `[num_features_kept,
            features]`, float32.
        labels: Labels of the first images, `[num_features_kept]`, int32.
        class_counts: Number of images per label, over all images, int64.
        logits: Logits of all images, `[count, classes]`, float32, or None.
    """

    count: int
    mean: np.ndarray
    covariance: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    class_counts: np.ndarray
    logits: np.ndarray | None

    def save(self, path) -> None:
        """Writes an `.npz` file atomically."""
        arrays = {k: v for k, v in vars(self).items() if v is not None}
        with whole_file(path) as partial:
            np.savez(partial, **arrays)

    @classmethod
    def load(cls, path) -> "FeatureSet":
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        count = int(arrays.pop("count"))
        return cls(count=count, **{"logits": None} | arrays)


def embed_images(
    network: FeatureNetwork,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    num_features_kept: int,
    keep_logits: bool = True,
    rounded: Callable[[np.ndarray], np.ndarray] | None = None,
) -> FeatureSet:
    """Embeds batches of images without keeping the images.

    Args:
        network: The feature network.
        batches: Images `[batch, height, width, channels]`, float in [-1, 1],
            and labels `[batch]`, integer.
        num_features_kept: Number of images whose features are kept.
        keep_logits: Whether to keep the logits of all images.
        rounded: Applied to images first; None for `quantise`: they are then
            as if read from a file, like the real ones.

    Raises:
        ValueError: If a pixel or a feature is not finite, naming the image, or
            if there is no image.
    """
    rounded = rounded or quantise
    moments, features, logits, labels = None, [], [], []
    class_counts = collections.Counter()
    seen = 0
    for images, batch_labels in batches:
        images = np.asarray(images)
        _check_finite(images, seen)
        batch_features, batch_logits = network.embed(rounded(images))
        batch_features = np.asarray(batch_features)
        if moments is None:
            moments = Moments(batch_features.shape[1])
        moments.update(batch_features)
        class_counts.update(np.asarray(batch_labels).tolist())
        if seen < num_features_kept:
            rows = slice(num_features_kept - seen)
            features.append(batch_features[rows])
            labels.append(np.asarray(batch_labels)[rows])
        if keep_logits and batch_logits is not None:
            logits.append(np.asarray(batch_logits))
        seen += len(images)
    if not seen:
        raise ValueError("There is no image to embed: expected two or more.")
    return FeatureSet(
        moments.count,
        moments.mean,
        moments.covariance,
        np.concatenate(features),
        np.concatenate(labels),
        np.array([class_counts[i] for i in range(max(class_counts) + 1)]),
        np.concatenate(logits) if logits else None,
    )


def quantise(images: np.ndarray) -> np.ndarray:
    """Rounds images in [-1, 1] to 256 values, clipping values outside."""
    values = np.clip(np.rint((images + 1.0) * 127.5), 0.0, 255.0)
    return (values / 127.5 - 1.0).astype(np.float32)


def stretch(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rounds images to 256 values after stretching `[low, high]` to [0, 1].

    Source: `save_image` of torchvision, with which mimicry makes the images
    that it scores, whose extremes `low` and `high` are.
    """
    values = np.floor((images - low) / (high - low + 1e-5) * 255.0 + 0.5)
    return (np.clip(values, 0.0, 255.0) / 127.5 - 1.0).astype(np.float32)


# How generated images are rounded before they are embedded.
ROUNDING = {
    "uint8": quantise,
    "none": np.float32,
    "stretched": stretch,
}


def extremes(batches: Iterable[tuple[np.ndarray, np.ndarray]]):
    """Returns the smallest and the largest pixel of batches of images."""
    ends = [(images.min(), images.max()) for images, _ in batches]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _check_finite(images, first):
    finite = np.isfinite(images).all(axis=(1, 2, 3))
    if not finite.all():
        raise ValueError(
            f"Image {first + int(finite.argmin())} has a pixel that is not "
            "finite: nothing can be scored. Take an earlier checkpoint."
        )
