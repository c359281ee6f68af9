"""All scores of generated images against real ones."""

import math
from collections.abc import Sequence

import numpy as np

from sagan.evaluation.embedding import FeatureSet
from sagan.metrics.fid import (
    few_samples_warning,
    frechet_distance,
    intra_class_fid,
)
from sagan.metrics.fid_infinity import fid_infinity
from sagan.metrics.inception_score import inception_score
from sagan.metrics.kid import kernel_distance, subset_warning
from sagan.metrics.precision_recall import precision_recall_density_coverage

NEIGHBOURS = 5

# Collapse is reported below this fraction of the real features' total standard
# deviation, or above this fraction of identical images.
_COLLAPSED_VARIANCE = 0.1
_COPIES = 0.1


def score(
    real: FeatureSet,
    fake: FeatureSet,
    class_names: Sequence[str] = (),
    kid_subsets: tuple[int, int] = (100, 1000),
    extrapolate: bool = False,
) -> tuple[dict[str, float], list[str]]:
    """Returns every score by name, and warnings to log.

    FID uses all images, Inception Scores all generated images, the other
    scores the images whose features were kept.

    Args:
        real: The reference.
        fake: Generated images, or other real ones for the reference scores.
        class_names: Names of the classes; empty for no FID within classes.
        kid_subsets: Number of subsets of KID, and images in each.
        extrapolate: Whether to extrapolate FID to infinitely many images, if
            features of enough are kept.

    Returns:
        "fid", "kid", "kid_std", "precision", "recall", "density", "coverage";
        with logits "is" (one split), "is_10" and "is_10_std" (ten); with
        labels, and two images in some class, "intra_fid"; with `extrapolate`,
        "fid_inf".
    """
    fid = frechet_distance(
        real.mean, real.covariance, fake.mean, fake.covariance
    )
    kid, kid_std = kernel_distance(real.features, fake.features, *kid_subsets)
    scores = {
        "fid": fid,
        "kid": kid,
        "kid_std": kid_std,
        **precision_recall_density_coverage(
            real.features, fake.features, NEIGHBOURS
        ),
    }
    warnings = [
        few_samples_warning(min(real.count, fake.count), len(real.mean)),
        subset_warning(len(real.features), len(fake.features), kid_subsets[1]),
        *_collapse_warnings(real, fake),
    ]
    if fake.logits is not None:
        scores["is"], _ = inception_score(fake.logits, 1)
        splits = min(10, fake.count)
        scores["is_10"], scores["is_10_std"] = inception_score(
            fake.logits, splits
        )
    if extrapolate:
        try:
            scores["fid_inf"] = fid_infinity(
                real.mean, real.covariance, fake.features
            )
        except ValueError as error:  # Too few for a line.
            warnings.append(f"No fid_inf: {error}")
    if class_names:
        try:
            scores["intra_fid"], _, texts = intra_class_fid(
                *(real.features, real.labels, fake.features, fake.labels),
                class_names,
            )
        except ValueError as error:  # Too few images in every class.
            texts = [f"No intra-FID: {error}"]
        warnings += texts
    return scores, [text for text in warnings if text]


def _collapse_warnings(real, fake):
    spread, expected = (
        math.sqrt(max(0.0, float(np.trace(e.covariance)))) for e in (fake, real)
    )
    if spread < _COLLAPSED_VARIANCE * expected:
        yield (
            f"The generated images hardly differ: their features spread "
            f"{spread:.3g} about their mean, those of real images "
            f"{expected:.3g}. The generator has collapsed."
        )
    distinct = len(np.unique(fake.features, axis=0))
    copies = len(fake.features) - distinct
    if copies > _COPIES * len(fake.features):
        yield (
            f"Only {distinct} of {len(fake.features)} generated images differ "
            "from one another. The generator has collapsed."
        )
