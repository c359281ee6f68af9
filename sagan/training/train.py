"""Training: from a config to a run."""

from typing import Annotated, Literal

import gin
import tensorflow as tf
from absl import logging

from sagan.cli import sigterm_held_back
from sagan.config import AtLeast, Count, Fraction, Natural, checked
from sagan.data import make_dataset
from sagan.distributed.replicas import distribute_steps
from sagan.distributed.strategy import StrategyName, make_strategy
from sagan.distributed.workers import Workers
from sagan.evaluation.best import HIGHER, LOWER
from sagan.evaluation.samples import Statistics
from sagan.latents import Labels
from sagan.runs.files import check_writable
from sagan.training.assembly import (
    check_fit,
    check_updates,
    choose_class_counts,
    make_gan,
    warn_of_idle,
)
from sagan.training.loop import Periods, run_steps, step_calls
from sagan.training.run import open_run
from sagan.training.stability import Recovery


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
    ema_half_life: Natural = 0,
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
    attention_every: Natural = 0,
    strategy: StrategyName = "none",
    num_replicas: Count | None = None,
    on_nan: Literal["stop", "restore"] = "stop",
    max_restores: Natural = 3,
) -> str | None:
    """Trains a GAN in `workdir`, resuming from its newest checkpoint.

    SIGTERM and Ctrl-C finish the call under way, save and return. With several
    workers each one calls it; only the chief writes to `workdir`.

    Args:
        workdir: Folder of the run; created if absent.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        download: Whether a missing dataset may be downloaded.
        num_steps: Total number of generator updates.
        d_steps: Discriminator updates before each generator update.
        seed: Seed for initial weights, latents and labels.
        ema_decay: Decay of the moving average of the generator's weights.
        ema_half_life: Half-life of the moving average, in images, a batch per
            step; 0 for `ema_decay`. StyleGAN2, which has this form, starts with
            a shorter one, as `ema_start` does here.
        ema_start: Step until which the average follows the weights.
        labels: Labels of generated images: "uniform", as in the released code,
            or as frequent as in the "data".
        jit_compile: Whether XLA compiles the updates; None for yes on a GPU
            and no on a CPU, where it would be slower.
        joint_batch: Whether real and fake images pass through the
            discriminator in one call: faster than two, with equal results.
        accumulation: Micro-batches of an update, to hold fewer activations; a
            divisor of the batch size. Exact except for the batch norm of
            generator updates, which sees one micro-batch at a time.
        deterministic: Whether all operations are deterministic, so that a
            resumed run is bitwise equal to an uninterrupted one on a GPU too.
        tensor_float_32: Whether a GPU may round the factors of float32
            products to TF32: faster, and no longer float32.
        log_every: Steps between records of scalars.
        sample_every: Steps between sample grids.
        num_samples: Images in a grid.
        save_every: Steps between checkpoints.
        keep_last: Number of newest checkpoints to keep.
        keep_every: Checkpoints at multiples of this step are kept too; 0 for
            none.
        steps_per_call: Steps in one call of the compiled function, so that a
            fast device does not wait for Python; the periods must be multiples
            of it. Each step has its own batch in memory.
        evaluate_every: Steps between scores of the moving average, under the
            protocol of `make_evaluation`; 0 for none. The best checkpoint is
            kept in the folder `best`.
        evaluate_samples: Generated images for these scores.
        evaluate_statistics: Batch-norm statistics for these scores: the
            "moving" moments, averaged like the weights and therefore lagging,
            or "standing" ones, computed with the averaged weights.
        best_by: Score that selects the best checkpoint, such as "fid".
        attention_every: Steps between pictures of attention maps, whose
            numbers are logged, see `attention_statistics`; 0 for none. Without
            self-attention there is nothing to draw.
        strategy: Devices to train on: "none" for one, "mirrored" for those of
            this machine, "multi_worker", or "tpu".
        num_replicas: Number of devices, see `make_strategy`; None for all.
        on_nan: What to do about a non-finite loss or gradient: "stop" the run,
            or "restore" its newest checkpoint and continue, see `Recovery`.
        max_restores: Maximum number of restores per session.

    Returns:
        Name of the signal that stopped the run early, or None.

    Raises:
        ValueError: If a setting is out of range, settings contradict each
            other, the run in `workdir` was started with other hyperparameters,
            or this device computes layers of the networks wrongly.
        FloatingPointError: If a loss or gradient is not finite, and nothing
            may or can be restored.
    """
    periods = Periods(
        log_every, sample_every, save_every, evaluate_every, attention_every
    )
    periods.check(steps_per_call)
    devices = make_strategy(strategy, num_replicas, sigterm_held_back)
    workers = Workers(devices)
    _check_start(workers, workdir, download)
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    with workers.watched():
        with devices.scope():
            gan = make_gan(
                seed=seed,
                ema_decay=ema_decay,
                ema_half_life=ema_half_life,
                d_steps=d_steps,
                ema_start=ema_start,
                jit_compile=jit_compile,
                joint_batch=joint_batch,
                accumulation=accumulation,
            )
        check_fit(gan)
        warn_of_idle(gan, num_steps, labels, attention_every)
        dataset = make_dataset(data_dir=data_dir, download=download)
        gan.class_counts = choose_class_counts(dataset, labels)
        check_updates(gan, dataset.batch_size)
        data = dataset.identity.fingerprint, dataset.size
        workers.check_same(f"{gin.operative_config_str()} {data}")
        with open_run(workdir, workers, gan, dataset) as run:
            start = run.restore(keep_last, keep_every)
            if start >= num_steps:
                logging.info("%s has all %d steps already.", workdir, num_steps)
                return None
            if evaluate_every:
                run.make_scores(
                    data_dir, evaluate_samples, evaluate_statistics, best_by
                )
            run.record(start, strategy)
            run.open_outputs(start, num_steps, d_steps, num_samples)
            batches = distribute_steps(devices, dataset, d_steps, first=start)
            restores = max_restores if on_nan == "restore" else 0
            return run_steps(
                gan,
                dataset.checked(batches),
                step_calls(start, num_steps, steps_per_call),
                num_steps,
                d_steps * dataset.batch_size,
                periods,
                workers,
                Recovery(gan, workers, run.checkpoints, restores),
                run,
            )


def _check_start(workers, workdir, download):
    """Refuses, before anything is built, what cannot work."""
    if workers.is_chief:
        check_writable(workdir)
    if download and not workers.alone:
        raise ValueError(
            "--download is for one process, and these are several workers: "
            "prepare the dataset first, with train.strategy = 'none'."
        )
