"""Evaluation protocol: feature network, real images and sample sizes."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Sequence
from typing import Annotated

import gin
import numpy as np
import tensorflow as tf
from absl import logging

from sagan.config import AtLeast, Natural, checked
from sagan.config.paths import image_folder
from sagan.distributed.replicas import is_mirrored, run_on_replicas
from sagan.evaluation.compatibility import check_network
from sagan.evaluation.embedding import (
    ROUNDING,
    FeatureSet,
    embed_images,
    extremes,
)
from sagan.evaluation.features import (
    FeatureNetwork,
)
from sagan.evaluation.published import (
    PROTOCOLS,
    ProtocolName,
    PublishedProtocol,
    check_chief_can_score,
    describe_published,
)
from sagan.evaluation.real_images import (
    EVEN,
    ODD,
    REAL_SEED,
    cache_folder,
    config_split,
    embed_real,
    open_others,
    open_real,
)
from sagan.evaluation.samples import BATCH_SIZE, sample_batches
from sagan.evaluation.scores import NEIGHBOURS, score
from sagan.latents import Labels, describe_imbalance
from sagan.runs.machine import peak_memory_bytes

WEIGHTS = ("ema", "raw")
# Enough images that each has its neighbours.
Enough = Annotated[int, AtLeast(NEIGHBOURS + 1)]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores generators against one set of real images, under one protocol.

    Attributes:
        network: The feature network.
        real: Features of the real images.
        real_reference: Scores of other real images against these, if possible
            as many as are generated: what a perfect generator reaches.
        protocol: What two scores must share to be comparable.
        num_samples: Number of generated images.
        class_names: Names of the classes, empty if labels are not used.
        seed: Seed for the latents.
        num_features_kept: Number of images whose features are kept, for scores
            other than FID.
        strategy: Strategy on whose replicas images are generated.
        class_counts: Real images per class, if labels of generated images are
            to be as frequent; None for uniform labels.
        published: What is done to the images.
        extrapolate: Whether to extrapolate FID, see `fid_infinity`.
    """

    network: FeatureNetwork
    real: FeatureSet
    real_reference: dict[str, float]
    protocol: dict[str, object]
    num_samples: int
    class_names: Sequence[str]
    seed: int
    num_features_kept: int
    strategy: tf.distribute.Strategy
    class_counts: np.ndarray | None
    published: PublishedProtocol = PROTOCOLS["own"]
    extrapolate: bool = False

    def record(
        self, generator, step: int, weights: str, statistics: str = "moving"
    ) -> dict[str, object]:
        """Scores a generator and returns the record, as JSON values.

        Args:
            generator: A `Generator`; left unchanged.
            step: Step of its checkpoint.
            weights: Which weights it has, one of `WEIGHTS`.
            statistics: Batch-norm statistics, one of `STATISTICS`.

        Raises:
            ValueError: If a generated image is not finite.
        """
        started = time.monotonic()
        batches = functools.partial(
            sample_batches,
            generator,
            self.num_samples,
            self.seed,
            BATCH_SIZE,
            statistics,
            self.strategy,
            self.class_counts,
        )
        rounded = ROUNDING[self.published.rounding]
        if self.published.rounding == "stretched":
            low, high = extremes(batches())
            rounded = functools.partial(rounded, low=low, high=high)
        fake = embed_images(
            *(self.network, batches(), self.num_features_kept), rounded=rounded
        )
        scores, warnings = _scores(self.real, fake, self)
        for text in warnings:
            logging.warning("Step %d, %s weights: %s", step, weights, text)
        return {
            "step": step,
            "weights": weights,
            "statistics": statistics,
            **scores,
            "protocol": self.protocol,
            "floor": self.real_reference,
            "warnings": warnings,
            "replicas": self.strategy.num_replicas_in_sync,
            "seconds": round(time.monotonic() - started, 1),
            "peak_memory_bytes": peak_memory_bytes(),
        }


@gin.configurable(denylist=["workdir", "data_dir", "strategy"])
@checked
def make_evaluation(
    workdir,
    data_dir: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    protocol: ProtocolName = "own",
    features: str | None = None,
    num_samples: Enough | None = None,
    num_real: Enough | None = None,
    split: str | None = None,
    floor_split: str | None = None,
    seed: Natural = 0,
    kept: Enough = 10_000,
    labels: Labels = "uniform",
    fid_infinity: bool = False,
) -> Evaluation:
    """Makes the evaluation of the config's dataset.

    Args:
        workdir: The run's folder.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        strategy: Strategy on whose replicas images are generated and, if they
            are of one machine, embedded; None for one device.
        protocol: Published protocol, a key of `PROTOCOLS`, or "own". Other
            settings may change it, and then the record says so.
        features: Feature network, see `open_features`; None for the
            protocol's.
        num_samples: Number of generated images; None for the protocol's.
        num_real: Number of real images; None for the protocol's.
        split: Split of the real images to compare with; None for that of
            training.
        floor_split: Split of other real images, scored like generated ones;
            None for "test" if there is one. If it shares images with `split`,
            or the dataset is a folder, two halves of the real images are
            compared instead.
        seed: Seed for the latents.
        kept: Number of real and of generated images from which scores other
            than FID and IS are computed.
        labels: Labels of generated images: "uniform", or "data" for the
            frequencies of the real images.
        fid_infinity: Whether to extrapolate FID to infinitely many images, as
            "fid_inf", from the features kept.

    Raises:
        ValueError: If a setting is out of range, or something is missing.
    """
    strategy = strategy or tf.distribute.get_strategy()
    mirrored = is_mirrored(strategy)
    published = PROTOCOLS[protocol]
    source = features or published.features
    if strategy.num_replicas_in_sync > 1 and not mirrored:
        check_chief_can_score(labels, published)
    # Before the data, which may take long: a missing network is noticed first.
    with strategy.scope() if mirrored else contextlib.nullcontext():
        network = published.open_features(source)
    named = describe_published(
        *(protocol, network.name), features=features, num_samples=num_samples,
        num_real=num_real, split=split, labels=labels
    )  # fmt: skip
    num_samples = num_samples or published.num_samples
    split = split or config_split()
    dataset = open_real(split, data_dir)
    check_network(network, dataset, split, source == "classifier")
    if mirrored:  # With several workers, only the chief embeds.
        parallel = run_on_replicas(network.embed, strategy)
        network = dataclasses.replace(network, embed=parallel)
    embed = functools.partial(
        embed_real,
        network,
        num_features_kept=kept,
        cache=cache_folder(dataset, data_dir, workdir),
    )
    num_real = min(num_real or published.num_real or dataset.size, dataset.size)
    # Before anything is embedded: an unknown split is noticed first.
    others = open_others(dataset, floor_split, data_dir)
    num_others = min(others.size if others else num_real // 2, num_samples)
    _check_numbers(dataset.name, num_real, num_others)
    real = embed(dataset, split, num_real)
    if others:
        floor_split = floor_split or "test"
        other = embed(others, floor_split, num_others, keep_logits=True)
        reference = real
    else:
        floor_split = "halves"
        reference, other = _embed_halves(embed, dataset, split, num_real)
    description = _describe(network, dataset) | {
        "labels": labels if dataset.num_classes else "none",
        "split": split,
        "num_samples": num_samples,
        "num_real": num_real,
        "kept": kept,
        "seed": seed,
        "floor_split": floor_split,
        "num_floor": other.count,
        **named,
    }
    class_counts = _class_counts(real, dataset, labels)
    evaluation = Evaluation(
        *(network, real, {}, description, num_samples),
        dataset.identity.class_names if dataset.num_classes else (),
        *(seed, kept, strategy, class_counts, published, fid_infinity),
    )
    evaluation.real_reference.update(_score_real(reference, other, evaluation))
    return evaluation


def _embed_halves(embed, dataset, split, num_real):
    reference = embed(dataset, split, num_real, part=EVEN)
    other = embed(dataset, split, num_real, part=ODD, keep_logits=True)
    return reference, other


def _check_numbers(name, num_real, num_others):
    if min(num_real, num_others) < NEIGHBOURS + 1:
        raise ValueError(
            f"{name!r} has {num_real} real images to score with, and "
            f"{num_others} others for the floor: expected at least "
            f"{NEIGHBOURS + 1} of each, and some thousand for scores that say "
            "anything. Without a split of others, halves are compared."
        )


def _scores(real, fake, evaluation):
    return score(
        real,
        fake,
        evaluation.class_names,
        evaluation.published.kid_subsets,
        evaluation.extrapolate,
    )


def _score_real(reference, other, evaluation):
    """Scores real images against others, as generated ones are scored."""
    logging.info("Scoring %d real images for the floor.", other.count)
    scores, warnings = _scores(reference, other, evaluation)
    for text in warnings:
        logging.warning("Real images: %s", text)
    if other.count != evaluation.num_samples:
        logging.warning(
            "The floor uses %d real images and scores %d generated ones: the "
            "bias of FID is inversely proportional to their number.",
            other.count,
            evaluation.num_samples,
        )
    return scores


def _class_counts(real, dataset, labels):
    """Returns real images per class if labels are to be drawn from them."""
    if not dataset.num_classes:
        return None
    counts = np.zeros(dataset.num_classes, np.int64)
    counts[: len(real.class_counts)] = real.class_counts
    if labels == "data":
        return counts
    names = dataset.identity.class_names
    if text := describe_imbalance(counts, "make_evaluation.labels", names):
        logging.warning(text)
    return None


def _describe(network, dataset):
    """Returns the protocol of the network, the images and their processing."""
    return {
        # Wherever a folder lies, its images are the same.
        "dataset": "folder"
        if image_folder(dataset.name)
        else dataset.identity.full_name,
        "fingerprint": dataset.identity.fingerprint,
        "real_seed": REAL_SEED,
        "image_size": dataset.image_size,
        "channels": dataset.channels,
        "crop_size": gin.get_bindings("make_dataset").get("crop_size"),
        "features": network.name,
        "features_sha256": network.sha256,
        "resize": network.resize,
        "quantised": "uint8",
        "tensor_float_32": _uses_tensor_float_32(),
        "neighbours": NEIGHBOURS,
    }


def _uses_tensor_float_32():
    """Returns whether products round to TF32, which only GPUs do."""
    on = tf.config.experimental.tensor_float_32_execution_enabled()
    return bool(on and tf.config.list_physical_devices("GPU"))
