"""Generated images for scores, under a choice of batch-norm statistics."""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal, get_args

import numpy as np
import tensorflow as tf
from absl import logging

from sagan.config import train_settings
from sagan.distributed.replicas import is_mirrored, run_on_replicas
from sagan.distributed.strategy import make_local_strategy
from sagan.generator import build_generator
from sagan.latents import draw_latents
from sagan.layers.batch_norm import batch_norms
from sagan.layers.numerics import check_networks
from sagan.runs.checkpoints import CHECKPOINT_FOLDER, restore_generator
from sagan.runs.machine import describe_machine

# Moments that batch norm uses: the moving ones, those of each batch, or those
# of several batches under the current weights, averaged ("standing").
Statistics = Literal["moving", "batch", "standing"]
STATISTICS = get_args(Statistics)
_STANDING_BATCHES = 16
# Batch size for scores; the latents do not depend on it.
BATCH_SIZE = 64


def restored_generator(
    workdir,
    step: int | None = None,
    ema: bool = True,
    folder: str = CHECKPOINT_FOLDER,
    mode: str = "unknown",
):
    """Rebuilds the generator of a run, whose config is parsed already.

    It computes as it did in training: on as many devices, with as many bits.

    Args:
        workdir: Folder of the run.
        step: Step of the checkpoint; None for the newest.
        ema: Whether to take the moving average of the weights.
        folder: Folder of the checkpoints in `workdir`.
        mode: How it is going to be called, one of `numerics.MODES`; "unknown"
            for compiled with a batch of any size.

    Returns:
        The `Generator`, its `tf.distribute.Strategy`, and the step.

    Raises:
        ValueError: If there is no such checkpoint, it cannot be read or does
            not fit the config, or this device computes the generator wrongly.
    """
    tf.config.experimental.enable_tensor_float_32_execution(
        train_settings()["tensor_float_32"]
    )
    strategy = make_local_strategy()
    with strategy.scope():
        generator = build_generator()
    checkpoints = pathlib.Path(workdir) / folder
    step = restore_generator(checkpoints, generator, step, ema)
    checked = check_networks(
        {generator: BATCH_SIZE}, describe_machine(), mode, gradients=False
    )
    logging.info("Checked %s.", checked)
    return generator, strategy, step


def sample_batches(
    generator,
    num_samples: int,
    seed: int,
    batch_size: int,
    statistics: str,
    strategy: tf.distribute.Strategy | None = None,
    class_counts: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields generated images and their labels.

    Latents and labels depend only on `num_samples`, `seed` and `class_counts`.
    The generator's variables are restored afterwards. If `strategy` has
    several workers, all must draw the same batches.

    Args:
        generator: A `Generator`.
        num_samples: Total number of images.
        seed: Seed for latents and labels.
        batch_size: Images per batch, times the number of replicas if they are
            on one machine; the last batch may be smaller.
        statistics: Batch-norm statistics, one of `STATISTICS`.
        strategy: Strategy on whose replicas images are generated; None for one
            device. With "batch", all are generated on one device.
        class_counts: As for `draw_latents`.

    Yields:
        Images `[batch, size, size, channels]`, float32 in [-1, 1], and labels
        `[batch]`, int32.
    """
    inputs = _draw(generator, num_samples, [seed, 0], class_counts)
    with _kept_state(generator) as restore:
        if statistics == "standing":
            use_standing_moments(generator, seed, batch_size, class_counts)
        if statistics == "batch":
            call = _compiled(generator, training=True)
        else:
            strategy = strategy or tf.distribute.get_strategy()
            call = _replicated_generator(generator, strategy)
            if is_mirrored(strategy):
                batch_size *= strategy.num_replicas_in_sync
        for start in range(0, num_samples, batch_size):
            latents, labels = (x[start : start + batch_size] for x in inputs)
            images = call(latents, labels).numpy()
            if statistics == "batch":
                restore()
            yield images, labels.numpy()


# Cached: tracing for many replicas takes longer than some thousand images.
@functools.lru_cache(maxsize=1)
def _replicated_generator(generator, strategy):
    return run_on_replicas(_compiled(generator, training=False), strategy)


def _compiled(generator, training) -> Callable:
    # One function for batches of all sizes, the last included.
    latents = tf.TensorSpec([None, generator.latent_dim])
    return tf.function(
        lambda latents, labels: generator(latents, labels, training=training),
        input_signature=[latents, tf.TensorSpec([None], tf.int32)],
        autograph=False,
    )


@contextlib.contextmanager
def _kept_state(generator):
    """Restores moments and `u` on exit, and when the yielded function runs."""
    state = [(v, v.numpy()) for v in generator.non_trainable_variables]

    def restore():
        for variable, value in state:
            variable.assign(value)

    try:
        yield restore
    finally:
        restore()


def use_standing_moments(
    generator,
    seed: int,
    batch_size: int = BATCH_SIZE,
    class_counts=None,
    truncation: float | None = None,
) -> None:
    """Sets moving moments to averages over batches under the current weights.

    Args:
        generator: A `Generator`; its other variables are left unchanged.
        seed: Seed for latents and labels of the batches.
        batch_size: Images per batch.
        class_counts: As for `draw_latents`.
        truncation: As for `draw_latents`: latents of the images to be drawn.

    Source: Brock et al. (2019), arXiv:1809.11096, section 4.1.
    """
    norms = batch_norms(generator)
    decays = [layer.decay for layer in norms]
    inputs = [
        _draw(generator, batch_size, [seed, 1 + i], class_counts, truncation)
        for i in range(_STANDING_BATCHES)
    ]
    with _kept_state(generator):
        try:
            for layer in norms:
                layer.decay = 0.0  # Makes the moving moments the batch's own.
            batches = list(_moments(generator, norms, inputs))
        finally:
            for layer, decay in zip(norms, decays, strict=True):
                layer.decay = decay
    for layer, moments in zip(norms, zip(*batches, strict=True), strict=True):
        means, squares = np.mean(moments, axis=0, dtype=np.float64)
        layer.moving_mean.assign(means)
        # Rounding may leave less than zero for a constant channel.
        variances = np.maximum(squares - np.square(means), 0.0)
        layer.moving_variance.assign(variances)


def _draw(generator, number, seed, class_counts, truncation=None):
    return draw_latents(
        number,
        generator.latent_dim,
        generator.num_classes,
        seed,
        class_counts,
        truncation,
    )


def _moments(generator, norms, inputs):
    """Yields each batch's means and means of squares, by layer."""
    call = _compiled(generator, training=True)
    for latents, labels in inputs:
        call(latents, labels)
        yield [
            (mean, layer.moving_variance.numpy() + np.square(mean))
            for layer in norms
            for mean in [layer.moving_mean.numpy().astype(np.float64)]
        ]
