"""Training: from a config to a run that goes on or starts."""

import functools
import pathlib
from typing import Annotated, Literal

import gin
import tensorflow as tf
from absl import logging

from sagan.cli import sigterm_held_back
from sagan.config import AtLeast, Count, Fraction, Natural, checked
from sagan.data import agreement, is_synthetic, make_dataset
from sagan.distributed.replicas import check_replicas, distribute_steps
from sagan.distributed.strategy import StrategyName, make_strategy
from sagan.distributed.workers import Workers
from sagan.evaluation.best import (
    HIGHER,
    LOWER,
    ScoresInTraining,
    generate_for_chief,
)
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.samples import Statistics
from sagan.latents import Labels
from sagan.runs.checkpoints import (
    CHECKPOINT_FOLDER,
    Checkpoints,
    checkpoint_steps,
)
from sagan.runs.files import check_writable, hold
from sagan.runs.logs import RunLog
from sagan.runs.record import (
    check_config,
    check_images,
    record_config,
    record_session,
)
from sagan.runs.sample_grids import SampleGrids
from sagan.training.assembly import (
    check_fit,
    check_updates,
    choose_class_counts,
    make_gan,
)
from sagan.training.loop import Outputs, Periods, run_steps, step_calls
from sagan.training.stability import Recovery

SAMPLE_FOLDER = "samples"


@gin.configurable(
    module="sagan.training", denylist=["workdir", "data_dir", "download"]
)
@checked
def train(
    workdir: str,
    data_dir: str | None = None,
    download: bool = False,
    num_steps: Count = gin.REQUIRED,
    d_steps: Count = 1,
    seed: Natural = 0,
    ema_decay: Fraction = 0.9999,
    ema_start: Natural = 2000,
    labels: Labels = "uniform",
    jit_compile: bool | None = None,
    joint_batch: bool = True,
    accumulation: Count = 1,
    deterministic: bool = False,
    tensor_float_32: bool = False,
    log_every: Count = 50,
    sample_every: Count = 500,
    num_samples: Count = 64,
    save_every: Count = 500,
    keep_last: Count = 3,
    keep_every: Natural = 0,
    steps_per_call: Count = 1,
    evaluate_every: Natural = 0,
    evaluate_samples: Annotated[int, AtLeast(2)] = 2048,
    evaluate_statistics: Statistics = "moving",
    best_by: Literal[*LOWER, *HIGHER] = "fid",
    strategy: StrategyName = "none",
    num_replicas: Count | None = None,
    on_nan: Literal["stop", "restore"] = "stop",
    max_restores: Natural = 3,
) -> str | None:
    """Trains a GAN in `workdir`, going on from its newest checkpoint.

    SIGTERM and Ctrl-C finish the call under way, save and return. With several
    workers each calls it; only the first touches `workdir`.

    Args:
        workdir: Folder of the run; made if absent.
        data_dir: Where TFDS data sets are; None for the TFDS default.
        download: Whether a data set that is not there may be downloaded.
        num_steps: Generator updates in all.
        d_steps: Discriminator updates before each of them.
        seed: Of initial weights, latents and labels.
        ema_decay: Of the moving average of the generator's weights.
        ema_start: Step until which the average follows the weights.
        labels: Labels of generated images: "uniform", as the released code has
            them, or as frequent as in the "data".
        jit_compile: Whether XLA compiles the updates; None for what suits the
            device: on a GPU it does, on a CPU it would be slower.
        joint_batch: Whether real and fake images pass through the
            discriminator in one call: faster than two, which are the same.
        accumulation: Micro-batches that an update takes one after another, to
            hold fewer activations: a divisor of the batch. Exact but for the
            batch norm of generator updates, which is of each micro-batch.
        deterministic: Whether all operations are deterministic, so that a
            resumed run equals an undisturbed one to the bit on a GPU too.
        tensor_float_32: Whether a GPU may round the factors of float32
            products to TF32: faster, and no longer float32.
        log_every: Steps between records of scalars.
        sample_every: Steps between sample grids.
        num_samples: Images in a grid.
        save_every: Steps between checkpoints.
        keep_last: How many checkpoints stay on disk.
        keep_every: Checkpoints at multiples of this step stay too; 0 for none.
        steps_per_call: Steps run in one call of the compiled function, so that
            a fast device does not wait for Python; the other periods must be
            multiples of it. Each has a batch of its own in memory.
        evaluate_every: Steps between scores of the moving average, under the
            protocol of `make_evaluation`; 0 for none. The best checkpoint is
            kept in the folder `best`.
        evaluate_samples: Generated images of these scores.
        evaluate_statistics: What batch norm normalises them with: the "moving"
            moments, which the average of weights averages too, so that they
            lag, or "standing" ones, those of the averaged weights.
        best_by: Score that the best checkpoint is best by, such as "fid".
        strategy: Which devices to train on: "none" for one, "mirrored" for
            those of this machine, "multi_worker", or "tpu".
        num_replicas: How many devices, see `make_strategy`; None for all.
        on_nan: What a loss or gradient that is not finite does: "stop" the
            run, or "restore" its newest checkpoint and go on, see `Recovery`.
        max_restores: How often a session of the run may be restored.

    Returns:
        The name of the signal that stopped the run before its end, or None.

    Raises:
        ValueError: If a setting is out of range, settings do not fit together,
            the run in `workdir` was started with other hyperparameters, or
            this device computes layers of the networks wrongly.
        FloatingPointError: If a loss or gradient is not finite, and nothing
            may or can be restored.
    """
    for name, period in {
        "log_every": log_every,
        "sample_every": sample_every,
        "save_every": save_every,
        "evaluate_every": evaluate_every,
    }.items():
        if period % steps_per_call:
            raise ValueError(
                f"train.{name} is {period}: expected a multiple of "
                f"train.steps_per_call, which is {steps_per_call}."
            )
    devices = {"strategy": strategy}
    strategy = make_strategy(strategy, num_replicas, sigterm_held_back)
    workers = Workers(strategy)
    devices |= workers.describe()
    if workers.is_chief:
        check_writable(workdir)
    if download and not workers.alone:
        raise ValueError(
            "--download is for one process, and these are several workers: "
            "prepare the data set first, with train.strategy = 'none'."
        )
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    with workers.watched():
        dataset = make_dataset(data_dir=data_dir, download=download)
        with strategy.scope():
            gan = make_gan(
                seed=seed,
                ema_decay=ema_decay,
                ema_start=ema_start,
                jit_compile=jit_compile,
                joint_batch=joint_batch,
                accumulation=accumulation,
                class_counts=choose_class_counts(dataset, labels),
            )
        check_fit(dataset, gan)
        check_replicas(strategy, dataset.batch_size, accumulation)
        parts = strategy.num_replicas_in_sync * accumulation
        check_updates(gan, dataset.batch_size // parts)
        workers.check_same(f"{gin.operative_config_str()} {dataset.size}")
        periods = Periods(log_every, sample_every, save_every, evaluate_every)

        def run(start, checkpoints=None, outputs=None, **more):
            restores = max_restores if on_nan == "restore" else 0
            return run_steps(
                gan,
                dataset.checked(
                    distribute_steps(strategy, dataset, d_steps, first=start)
                ),
                step_calls(start, num_steps, steps_per_call),
                num_steps,
                periods,
                workers,
                Recovery(gan, workers, checkpoints, restores),
                outputs,
                **more,
            )

        if not workers.is_chief:
            workers.copy_from_chief(gan.variables())
            start = int(gan.step.numpy())
            if start >= num_steps:
                return None
            generator = gan.ema_generator
            return run(
                start,
                assist=functools.partial(
                    generate_for_chief,
                    generator,
                    evaluate_samples,
                    evaluate_statistics,
                    strategy,
                ),
            )

        def make_scores():
            if not evaluate_every:
                return None
            evaluation = make_evaluation(
                workdir, data_dir, strategy, num_samples=evaluate_samples
            )
            return ScoresInTraining(
                workdir,
                evaluation,
                gan.ema_generator,
                best_by,
                evaluate_statistics,
            )

        workdir = pathlib.Path(workdir)
        with hold(workdir):
            checkpoints = _open(workdir, gan, dataset, keep_last, keep_every)
            start = checkpoints.restore_latest() or 0
            workers.copy_from_chief(gan.variables())
            scores = make_scores() if start < num_steps else None
            record_config(workdir)
            record_session(workdir, start, dataset.size, **devices)
            if start >= num_steps:
                logging.info("%s has all %d steps already.", workdir, num_steps)
                return None
            logging.info(
                "%s at step %d%s.",
                "Going on" if start else "Starting",
                start,
                workers.on_what(),
            )
            grids = _make_grids(workdir, gan, dataset, num_samples)
            images_per_step = d_steps * dataset.batch_size
            with RunLog(workdir, start, num_steps, images_per_step) as log:
                outputs = Outputs(gan, d_steps, log, grids, checkpoints, scores)
                return run(start, checkpoints, outputs)


def _open(workdir, gan, dataset, keep_last, keep_every):
    """Returns the run's checkpoints, if config and images fit them."""
    if checkpoint_steps(workdir / CHECKPOINT_FOLDER):
        check_config(workdir)
        check_images(workdir, dataset.size)
    return Checkpoints(
        workdir / CHECKPOINT_FOLDER, gan.trackables(), keep_last, keep_every
    )


def _make_grids(workdir, gan, dataset, num_samples):
    """Draws real images, and returns what draws generated ones."""
    grids = SampleGrids(
        workdir / SAMPLE_FOLDER,
        {"raw": gan.generator, "ema": gan.ema_generator},
        num_samples,
        score=agreement if is_synthetic(dataset.name) else None,
    )
    grids.save_real(dataset)
    return grids
