"""The protocol of a config's scores: feature network, real images, numbers."""

import dataclasses
import pathlib
import time
from collections.abc import Sequence

import gin
from absl import logging

from sagan.evaluation.reference import (
    cache_folder,
    embed_halves,
    embed_real,
    has_splits,
    open_real,
)
from sagan.evaluation.samples import STATISTICS, sample_batches
from sagan.machine import peak_memory_bytes
from sagan.metrics.embedding import Embedded, embed_images
from sagan.metrics.features import FeatureNetwork, open_features
from sagan.metrics.inception import fetch_inception
from sagan.metrics.scores import score
from sagan.settings import check_choices, check_integers

WEIGHTS = ("ema", "raw")
CLASSIFIER, INCEPTION = "classifier", "inception"
_INCEPTION_FOLDER = "~/.cache/sagan"
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores generators against one set of real images, under one protocol.

    Attributes:
        network: The feature network.
        real: The real images, embedded.
        floor: Scores of other real images against these: what a perfect
            generator would have, with `floor_samples` images.
        floor_samples: Their number.
        protocol: What two scores must share to be compared, but for the
            number of generated images: for the record.
        num_samples: Generated images.
        num_classes: Of the labels, 0 if they are not used.
        seed: Of the latents.
        kept: Of how many images features are kept, for other scores than FID.
    """

    network: FeatureNetwork
    real: Embedded
    floor: dict[str, float]
    floor_samples: int
    protocol: dict[str, object]
    num_samples: int
    num_classes: int
    seed: int
    kept: int

    def record(
        self,
        generator,
        step: int,
        weights: str,
        statistics: str = "moving",
        num_samples: int | None = None,
    ) -> dict[str, object]:
        """Scores a generator; returns the record, which JSON can hold.

        Args:
            generator: A `Generator`; left as it was.
            step: Of its checkpoint.
            weights: Of `WEIGHTS`: which they are.
            statistics: Of `STATISTICS`: what batch norm normalises with.
            num_samples: Images; those of the protocol if not given.

        Raises:
            ValueError: If a generated image is not finite.
        """
        started = time.monotonic()
        num_samples = num_samples or self.num_samples
        batches = sample_batches(
            generator, num_samples, self.seed, _BATCH_SIZE, statistics
        )
        fake = embed_images(self.network, batches, self.kept)
        scores, warnings = score(self.real, fake, self.num_classes)
        for text in warnings:
            logging.warning("Step %d, %s weights: %s", step, weights, text)
        return {
            "step": step,
            "weights": weights,
            "statistics": statistics,
            **scores,
            "protocol": self.protocol | {"num_samples": num_samples},
            "floor": self.floor,
            "warnings": warnings,
            "seconds": round(time.monotonic() - started, 1),
            "peak_memory_bytes": peak_memory_bytes(),
        }


@gin.configurable(denylist=["workdir", "data_dir"])
def make_evaluation(
    workdir,
    data_dir: str | None = None,
    features: str = CLASSIFIER,
    num_samples: int = 50_000,
    num_real: int | None = None,
    split: str | None = None,
    floor_split: str = "test",
    seed: int = 0,
    kept: int = 10_000,
) -> Evaluation:
    """Opens what scores need, by the config's data set.

    Args:
        workdir: The run's folder.
        data_dir: Where TFDS data sets are; None for the TFDS default.
        features: "classifier" for the one in runs/classifier_NAME, of the
            name of the data set; "inception" for the graph in ~/.cache/sagan,
            fetched there the first time; or a path, see `open_features`.
        num_samples: Generated images.
        num_real: Real images; None for all.
        split: Real images that the generated ones are compared with; None for
            those the run trains on.
        floor_split: Real images that are scored like generated ones. Of a
            folder of images, which has no splits, two halves are compared.
        seed: Of the latents.
        kept: Of how many real and generated images other scores than FID and
            IS are computed.

    Raises:
        ValueError: If a setting is out of range, or something is not there.
    """
    check_integers(
        "make_evaluation",
        2,
        num_samples=num_samples,
        num_real=2 if num_real is None else num_real,
        kept=kept,
    )
    check_integers("make_evaluation", 0, seed=seed)
    dataset = open_real(split, data_dir)
    network = open_features(_find_features(features, dataset.name))
    num_real = min(num_real or dataset.size, dataset.size)
    cache = cache_folder(dataset, data_dir, workdir)
    split_name = split or "train"
    real = embed_real(network, dataset, split_name, num_real, kept, cache)
    if has_splits(dataset):
        others = open_real(floor_split, data_dir)
        size = min(others.size, num_samples)
        pair = real, embed_real(network, others, floor_split, size, kept, cache)
    else:
        floor_split = "halves"
        pair = embed_halves(network, dataset, num_real, kept)
    floor, _ = score(*pair, dataset.num_classes)
    return Evaluation(
        network=network,
        real=real,
        floor=floor,
        floor_samples=pair[1].count,
        protocol={
            "dataset": dataset.name,
            "split": split_name,
            "num_real": num_real,
            "image_size": dataset.image_size,
            "features": network.name,
            "features_sha256": network.sha256,
            "resize": network.resize,
            "quantised": "uint8",
            "labels": "uniform" if dataset.num_classes else "none",
            "kept": kept,
            "seed": seed,
            "floor_split": floor_split,
        },
        num_samples=num_samples,
        num_classes=dataset.num_classes,
        seed=seed,
        kept=kept,
    )


def check_modes(weights: Sequence[str], statistics: Sequence[str]) -> None:
    """Checks what a user asked to score.

    Raises:
        ValueError: If a name is unknown or given twice.
    """
    check_choices("--weights", weights, WEIGHTS)
    check_choices("--statistics", statistics, STATISTICS)


def _find_features(features, dataset_name):
    if features == CLASSIFIER:
        name = pathlib.Path(dataset_name.removeprefix("folder:")).name
        path = pathlib.Path("runs") / f"classifier_{name}"
        if not path.is_dir():
            raise ValueError(
                f"There is no classifier in {path}: train one, python -m "
                f"sagan.classifier --gin_config=configs/classifier_{name}.gin, "
                "or bind make_evaluation.features to another feature network."
            )
        return path
    if features == INCEPTION:
        return fetch_inception(pathlib.Path(_INCEPTION_FOLDER).expanduser())
    return features
