"""Evaluation protocol: feature network, real images and sample sizes."""

import contextlib
import dataclasses
import functools
import time
from typing import Annotated

import gin
import numpy as np
import tensorflow as tf
from absl import logging

from sagan.config import AtLeast, Natural, checked
from sagan.config.paths import image_folder
from sagan.data import ImageDataset
from sagan.distributed.replicas import is_mirrored, run_on_replicas
from sagan.evaluation.embedding import FeatureSet, embed_images
from sagan.evaluation.features import FeatureNetwork, open_features
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
        num_classes: Number of classes, 0 if labels are not used.
        seed: Seed for the latents.
        num_features_kept: Number of images whose features are kept, for scores
            other than FID.
        strategy: Strategy on whose replicas images are generated.
        class_counts: Real images per class, if labels of generated images are
            to be as frequent; None for uniform labels.
    """

    network: FeatureNetwork
    real: FeatureSet
    real_reference: dict[str, float]
    protocol: dict[str, object]
    num_samples: int
    num_classes: int
    seed: int
    num_features_kept: int
    strategy: tf.distribute.Strategy
    class_counts: np.ndarray | None

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
        batches = sample_batches(
            generator,
            self.num_samples,
            self.seed,
            BATCH_SIZE,
            statistics,
            self.strategy,
            self.class_counts,
        )
        fake = embed_images(self.network, batches, self.num_features_kept)
        scores, warnings = score(self.real, fake, self.num_classes)
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
    features: str = "classifier",
    num_samples: Enough = 50_000,
    num_real: Enough | None = None,
    split: str | None = None,
    floor_split: str | None = None,
    seed: Natural = 0,
    kept: Enough = 10_000,
    labels: Labels = "uniform",
) -> Evaluation:
    """Makes the evaluation of the config's dataset.

    Args:
        workdir: The run's folder.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        strategy: Strategy on whose replicas images are generated and, if they
            are of one machine, embedded; None for one device.
        features: Feature network, see `open_features`.
        num_samples: Number of generated images.
        num_real: Number of real images; None for all.
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

    Raises:
        ValueError: If a setting is out of range, or something is missing.
    """
    strategy = strategy or tf.distribute.get_strategy()
    mirrored = is_mirrored(strategy)
    if labels == "data" and strategy.num_replicas_in_sync > 1 and not mirrored:
        raise ValueError(
            "make_evaluation.labels is 'data', for which only the process that "
            "embeds the real images knows the classes: take 'uniform' in "
            "training under this strategy, and score checkpoints with "
            "python -m sagan.evaluate."
        )
    # Before the data, which may take long: a missing network is noticed first.
    with strategy.scope() if mirrored else contextlib.nullcontext():
        network = open_features(features)
    split = split or config_split()
    dataset = open_real(split, data_dir)
    check_network(network, dataset, split, features == "classifier")
    if mirrored:  # With several workers, only the chief embeds.
        parallel = run_on_replicas(network.embed, strategy)
        network = dataclasses.replace(network, embed=parallel)
    embed = functools.partial(
        embed_real,
        network,
        num_features_kept=kept,
        cache=cache_folder(dataset, data_dir, workdir),
    )
    num_real = min(num_real or dataset.size, dataset.size)
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
        reference = embed(dataset, split, num_real, part=EVEN)
        other = embed(dataset, split, num_real, part=ODD, keep_logits=True)
    protocol = _describe(network, dataset) | {
        "labels": labels if dataset.num_classes else "none",
        "split": split,
        "num_samples": num_samples,
        "num_real": num_real,
        "kept": kept,
        "seed": seed,
        "floor_split": floor_split,
        "num_floor": other.count,
    }
    return Evaluation(
        network,
        real,
        _score_real(reference, other, dataset.num_classes, num_samples),
        protocol,
        num_samples,
        dataset.num_classes,
        seed,
        kept,
        strategy,
        _class_counts(real, dataset.num_classes, labels),
    )


def _check_classes(network, dataset, split, found_by_name):
    """Compares the data of a classifier with those that it is to score.

    Raises:
        ValueError: If it was found by the name of the dataset, and learnt
            other classes.
    """
    if not network.data:
        return
    learnt, names = network.data["classes"], dataset.identity.class_names
    if found_by_name and list(names) != learnt:
        raise ValueError(
            f"{network.name} has learnt the classes {_few(learnt)}, but "
            f"{dataset.name!r} has {_few(names)}: it is of another dataset. "
            "Train one of this dataset in another folder, and give that as "
            "--features or make_evaluation.features."
        )
    # The classifier learns the images that a run trains on.
    other = network.data["fingerprint"] != dataset.identity.fingerprint
    if other and split == config_split():
        logging.warning(
            "%s was trained on other images than are scored: %s, not %s.",
            network.name,
            network.data["name"],
            dataset.identity.full_name,
        )


def _few(names):
    listing = ", ".join(map(str, names[:10])) or "none"
    return listing + (f" and {len(names) - 10} more" if names[10:] else "")


def _check_numbers(name, num_real, num_others):
    if min(num_real, num_others) < NEIGHBOURS + 1:
        raise ValueError(
            f"{name!r} has {num_real} real images to score with, and "
            f"{num_others} others for the floor: expected at least "
            f"{NEIGHBOURS + 1} of each, and some thousand for scores that say "
            "anything. Without a split of others, halves are compared."
        )


def _score_real(reference, other, num_classes, num_samples):
    """Scores real images against others, as generated ones are scored."""
    logging.info("Scoring %d real images for the floor.", other.count)
    scores, warnings = score(reference, other, num_classes)
    for text in warnings:
        logging.warning("Real images: %s", text)
    if other.count != num_samples:
        logging.warning(
            "The floor uses %d real images and scores %d generated ones: the "
            "bias of FID is inversely proportional to their number.",
            other.count,
            num_samples,
        )
    return scores


def _class_counts(real, num_classes, labels):
    """Returns real images per class if labels are to be drawn from them."""
    if not num_classes:
        return None
    counts = np.zeros(num_classes, np.int64)
    counts[: len(real.class_counts)] = real.class_counts
    if labels == "data":
        return counts
    if text := describe_imbalance(counts, "make_evaluation.labels"):
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


def check_network(
    network: FeatureNetwork,
    dataset: ImageDataset,
    split: str,
    found_by_name: bool,
) -> None:
    """Checks that a feature network fits the images it is to embed.

    Args:
        network: The feature network.
        dataset: Real images.
        split: Their split.
        found_by_name: Whether it was found by the name of the dataset.

    Raises:
        ValueError: If it learnt other classes though found by name, or takes
            images of another size.
    """
    _check_classes(network, dataset, split, found_by_name)
    shape = [1, dataset.image_size, dataset.image_size, dataset.channels]
    try:
        network.embed(tf.zeros(shape))
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"The feature network {network.name} cannot embed images of "
            f"{dataset.image_size} pixels with {dataset.channels} channels: "
            f"take one made for them. ({str(error).strip().splitlines()[-1]})"
        ) from error


def _uses_tensor_float_32():
    """Returns whether products round to TF32, which only GPUs do."""
    on = tf.config.experimental.tensor_float_32_execution_enabled()
    return bool(on and tf.config.list_physical_devices("GPU"))
