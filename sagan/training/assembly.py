"""Assembles networks and optimisers, and checks them against the data."""

from collections.abc import Sequence
from typing import Annotated, get_args

import gin
import tensorflow as tf
from absl import logging

from sagan.config import (
    Count,
    Fraction,
    Natural,
    Needs,
    NonNegative,
    checked,
    config_batch_size,
    settings_of,
)
from sagan.data import ImageDataset
from sagan.discriminator import build_discriminator
from sagan.distributed.replicas import check_replicas
from sagan.gan import GAN
from sagan.generator import build_generator
from sagan.latents import describe_imbalance
from sagan.layers.batch_norm import batch_norms
from sagan.layers.initialization import initialize
from sagan.layers.numerics import check_networks
from sagan.layers.recorder import has_attention
from sagan.losses import LossName
from sagan.objective.augmentation import AugmentationName
from sagan.objective.objective import Objective
from sagan.optimizers import make_optimizers
from sagan.runs.machine import describe_machine


@gin.configurable
@checked
def make_objective(
    loss: LossName = "hinge",
    augmentations: Sequence[AugmentationName] = (),
    r1: NonNegative = 0.0,
    r2: NonNegative = 0.0,
    penalty_every: Annotated[Count, Needs("r1", "r2")] = 1,
    real_consistency: NonNegative = 0.0,
    fake_consistency: NonNegative = 0.0,
    lecam: NonNegative = 0.0,
    lecam_decay: Annotated[Fraction, Needs("lecam")] = 0.99,
    lecam_start: Annotated[Natural, Needs("lecam")] = 1000,
    g_orthogonality: NonNegative = 0.0,
    d_orthogonality: NonNegative = 0.0,
) -> Objective:
    """Makes what the networks minimise; by default SAGAN's, nothing added.

    Args:
        loss: "hinge", "non_saturating", "wasserstein" (whose Lipschitz bound
            is left to spectral normalisation) or "relativistic", which compares
            each generated image with a real one of its class: `train.labels`
            has no effect then.
        augmentations: DiffAugment of all images that the discriminator sees:
            some of "color", "translation" and "cutout", see `augment`.
        r1: Gamma of the gradient penalty on real images, weighted by gamma / 2.
        r2: Gamma of that on generated images.
        penalty_every: Steps between updates with `r1` and `r2`, which then
            weigh as many times as much. They are logged as zero elsewhere.
        real_consistency: Weight of consistency regularisation (bCR) on real
            images; 10 in its paper.
        fake_consistency: Weight of that on generated images; 10 likewise.
        lecam: Weight of LeCam regularisation.
        lecam_decay: Decay of its moving averages of logits.
        lecam_start: Step at which it starts.
        g_orthogonality: Weight of orthogonal regularisation of the generator;
            1e-4 in BigGAN.
        d_orthogonality: Weight of that of the discriminator.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    names = get_args(AugmentationName)
    known = not isinstance(augmentations, str) and not (
        set(augmentations) - set(names)
    )
    if not known or len(set(augmentations)) < len(augmentations):
        raise ValueError(
            f"make_objective.augmentations is {augmentations!r}: expected a "
            f"list of some of {', '.join(names)}, each once."
        )
    return Objective(
        loss=loss,
        augmentations=tuple(augmentations),
        r1=r1,
        r2=r2,
        penalty_every=penalty_every,
        real_consistency=real_consistency,
        fake_consistency=fake_consistency,
        lecam=lecam,
        lecam_decay=lecam_decay,
        lecam_start=lecam_start,
        g_orthogonality=g_orthogonality,
        d_orthogonality=d_orthogonality,
    )


def make_gan(
    seed: int,
    ema_decay: float,
    ema_start: int,
    jit_compile: bool | None,
    joint_batch: bool,
    accumulation: int,
    ema_half_life: int = 0,
    d_steps: int = 1,
) -> GAN:
    """Builds the `GAN` that the config describes; arguments as in `train`.

    Raises:
        ValueError: If batch norm is synchronized over replicas, and updates
            are compiled or split into micro-batches.
    """
    generator = build_generator()
    _check_batch_norm(generator, jit_compile, accumulation)
    if jit_compile is None:
        jit_compile = bool(tf.config.list_physical_devices("GPU"))
    discriminator = build_discriminator()
    for network in (generator, discriminator):
        initialize(network, seed)
    if ema_half_life:
        ema_decay = 0.5 ** (config_batch_size() / ema_half_life)
        logging.info(
            "The moving average has a decay of %.6g a step, by "
            "train.ema_half_life = %d: train.ema_decay has no effect.",
            *(ema_decay, ema_half_life),
        )
    mixed_float16 = generator.dtype_policy.name == "mixed_float16"
    return GAN(
        generator,
        discriminator,
        build_generator(),
        *make_optimizers(mixed_float16, d_steps),
        seed=seed,
        ema_decay=ema_decay,
        ema_start=ema_start,
        jit_compile=jit_compile,
        joint_batch=joint_batch,
        accumulation=accumulation,
        objective=make_objective(),
    )


def choose_class_counts(dataset: ImageDataset, labels: str):
    """Returns the `class_counts` of a `GAN` for the setting `train.labels`.

    Raises:
        ValueError: If labels follow the data, whose classes have not been
            counted.
    """
    counts = dataset.label_histogram
    if labels == "data" and dataset.num_classes and counts is None:
        raise ValueError(
            "train.labels is 'data', but the classes of "
            f"{dataset.name!r} are not counted where make_dataset.cache is "
            "False: set it to True, or train.labels = 'uniform'."
        )
    if labels == "data" or counts is None:
        return counts
    if text := describe_imbalance(
        counts, "train.labels", dataset.identity.class_names
    ):
        logging.warning(text)
    return None


def warn_of_idle(
    gan: GAN, num_steps: int, labels: str, attention_every: int
) -> None:
    """Warns of settings that the others leave without effect in a run.

    Args:
        gan: The `GAN`.
        num_steps: Steps of the run.
        labels: As `train.labels`.
        attention_every: As `train.attention_every`.
    """
    if attention_every and not has_attention(gan.generator, gan.discriminator):
        logging.warning(
            "train.attention_every = %d has no effect: neither network has "
            "self-attention.",
            attention_every,
        )
    objective = gan.objective
    if objective.lecam and objective.lecam_start >= num_steps:
        logging.warning(
            "make_objective.lecam has no effect: make_objective.lecam_start = "
            "%d is not before the run ends, at step %d.",
            *(objective.lecam_start, num_steps),
        )
    if (objective.r1 or objective.r2) and objective.penalty_every > num_steps:
        logging.warning(
            "make_objective.r1 and r2 have no effect: "
            "make_objective.penalty_every = %d is more than the %d steps.",
            *(objective.penalty_every, num_steps),
        )
    if objective.losses.paired and labels != "uniform":
        logging.warning(
            "train.labels = %r has no effect: under make_objective.loss = %r "
            "a generated image has the label of its real one.",
            *(labels, objective.loss),
        )


def _check_batch_norm(generator, jit_compile, accumulation):
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas == 1 or not any(n.synchronized for n in batch_norms(generator)):
        return
    if jit_compile or accumulation > 1:
        raise ValueError(
            "build_generator.batch_norm is 'synchronized', for which the "
            f"{replicas} replicas meet within an update: it can neither be "
            "compiled nor cut. Leave train.jit_compile at None or False and "
            "train.accumulation at 1, or take 'per_replica'."
        )


def check_fit(gan: GAN) -> None:
    """Checks that data, generator, discriminator and replicas agree.

    It goes by the config, before the data are opened, which may take long.

    Raises:
        ValueError: If they differ in size, channels, classes or precision, or
            the batch cannot be divided among replicas and micro-batches.
    """
    names = ("image_size", "channels", "num_classes", "batch_size")
    *data, batch_size = settings_of("make_dataset", names).values()
    if not all(isinstance(value, int) for value in (*data, batch_size)):
        return  # `make_dataset` says what it expects.
    data = tuple(data)
    check_replicas(gan.strategy, batch_size, gan.accumulation)
    for network, shape in (
        (gan.generator, gan.generator.image_shape),
        (gan.discriminator, gan.discriminator.image_shape),
    ):
        expected = (shape[0], shape[2], network.num_classes)
        if data != expected:
            raise ValueError(
                f"The images have (size, channels, classes) {data}, but the "
                f"{network.name} is built for {expected}: bind make_dataset, "
                "build_generator and build_discriminator to the same values."
            )
    if gan.generator.dtype_policy != gan.discriminator.dtype_policy:
        raise ValueError(
            "build_generator.precision and build_discriminator.precision must "
            f"be the same, not {gan.generator.dtype_policy.name!r} and "
            f"{gan.discriminator.dtype_policy.name!r}."
        )


def check_updates(gan: GAN, batch_size: int) -> None:
    """Checks that this device computes the updates of a GAN right.

    Call it outside of a strategy's scope: the default device is checked.

    Args:
        gan: The `GAN`.
        batch_size: Images of the global batch.

    Raises:
        ValueError: If it does not, see `check_networks`.
    """
    size = batch_size // gan.strategy.num_replicas_in_sync // gan.accumulation
    # The discriminator sees real and fake images in one call or in two.
    images = {gan.generator: size, gan.discriminator: size}
    if gan.joint_batch:
        images[gan.discriminator] *= 2
    mode = "jit" if gan.jit_compile else "function"
    checked = check_networks(images, describe_machine(), mode)
    logging.info("Checked %s.", checked)
