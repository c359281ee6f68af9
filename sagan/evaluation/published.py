"""Published evaluation protocols, by name.

Scores of two systems compare only if images are rounded and resized alike
before the feature network, and equally many are compared with the same real
ones. Each protocol here does what its source does; what it cannot do is said.
"""

import dataclasses
from typing import Literal

from absl import logging

from sagan.evaluation.features import (
    INCEPTION,
    FeatureNetwork,
    open_features,
)
from sagan.evaluation.real_images import config_split

ProtocolName = Literal["own", "paper", "studiogan", "mimicry", "clean"]


@dataclasses.dataclass(frozen=True)
class PublishedProtocol:
    """What a source does to images before it compares their features.

    Attributes:
        source: File that does it, with its repository.
        score: Names of the scores that compare with those published.
        features: Default feature network, see `open_features`.
        preprocessing: Key of `inception.PREPROCESSING`.
        biased_logits: Whether logits of Inception Scores have their bias.
        rounding: Key of `embedding.ROUNDING`, for generated images.
        num_samples: Number of generated images.
        num_real: Number of real images; None for all.
        kid_subsets: Number of subsets of KID, and images in each.
    """

    source: str
    score: str
    features: str = "inception"
    preprocessing: str = "tensorflow"
    biased_logits: bool = False
    rounding: str = "uint8"
    num_samples: int = 50_000
    num_real: int | None = None
    kid_subsets: tuple[int, int] = (100, 1000)

    def open_features(self, source: str) -> FeatureNetwork:
        """Opens a feature network, which gets images as the protocol has them.

        Args:
            source: As for `features.open_features`.
        """
        return open_features(source, self.preprocessing, self.biased_logits)


PROTOCOLS = {
    # Scores of one codebase, on a machine without a download.
    "own": PublishedProtocol("this project", "all", features="classifier"),
    # Generated images are not rounded, and pixels reach the network in [-1, 1].
    "paper": PublishedProtocol(
        "brain-research/self-attention-gan@0a93720, eval_imagenet.py, "
        "utils_ori.py",
        "fid, is",
        preprocessing="tensorflow_unit",
        rounding="none",
        num_real=50_000,
    ),
    "studiogan": PublishedProtocol(
        "POSTECH-CVLab/PyTorch-StudioGAN@d251d69, src/metrics/ins.py, "
        "src/utils/resize.py (--post_resizer=legacy)",
        "fid, is, precision, recall, density, coverage",
        preprocessing="pytorch",
        biased_logits=True,
    ),
    # Inception Scores are of images stretched by the extremes of them all,
    # where the source takes those of each batch of 50.
    "mimicry": PublishedProtocol(
        "kwotsin/mimicry@a387d11, torch_mimicry/metrics/compute_{fid,kid}.py, "
        "kid/kid_utils.py",
        "fid, is_10, kid",
        rounding="stretched",
        num_real=50_000,
        kid_subsets=(10, 5000),
    ),
    "clean": PublishedProtocol(
        "GaParmar/clean-fid@01ff748, cleanfid/fid.py, cleanfid/resize.py",
        "fid, kid",
        preprocessing="clean",
    ),
}


def describe_published(
    name: str, network_name: str, **given
) -> dict[str, object]:
    """Returns what a record says of a published protocol; empty for "own".

    Args:
        name: Key of `PROTOCOLS`.
        network_name: Name of the feature network.
        **given: Settings by name that may change the protocol; None where they
            are not given.
    """
    if name == "own":
        return {}
    published = PROTOCOLS[name]
    expected = vars(published) | {"split": config_split(), "labels": "uniform"}
    if network_name == INCEPTION:  # By name, or as a file.
        given.pop("features")
    changed = [
        key
        for key, value in given.items()
        if value not in (None, expected[key])
    ]
    if changed:
        logging.warning(
            "Scores do not compare with those of protocol %r: changed are %s.",
            *(name, ", ".join(changed)),
        )
        name += f" (changed: {', '.join(changed)})"
    return {
        "name": name,
        "source": published.source,
        "quantised": published.rounding,
        "kid_subsets": list(published.kid_subsets),
        "biased_logits": published.biased_logits,
    }


def check_chief_can_score(labels: str, published: PublishedProtocol) -> None:
    """Refuses what takes more than the batches that all workers generate.

    Raises:
        ValueError: If it does.
    """
    how = (
        "in training under this strategy, and score checkpoints with python -m "
        "sagan.evaluate."
    )
    if labels == "data":
        raise ValueError(
            "make_evaluation.labels is 'data', for which only the process that "
            f"embeds the real images knows the classes: take 'uniform' {how}"
        )
    if published.rounding == "stretched":
        raise ValueError(
            "make_evaluation.protocol generates images twice, for their "
            f"extremes and for their features: take 'own' {how}"
        )
