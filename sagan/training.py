"""The training loop."""

import pathlib

import gin
import tensorflow as tf
from absl import logging

from sagan.assembly import check_fit, make_gan
from sagan.checkpoints import Checkpoints, checkpoint_steps
from sagan.data import agreement, make_dataset
from sagan.diagnostics import diagnose
from sagan.health import Health
from sagan.logs import RunLog, StepTimer
from sagan.optimizers import scales_loss
from sagan.record import check_config, record_config, record_session
from sagan.sampling import SampleGrids
from sagan.settings import check_booleans, check_integers, check_numbers
from sagan.signals import stop_signals
from sagan.workdir import check_writable, hold

CHECKPOINT_FOLDER = "checkpoints"
SAMPLE_FOLDER = "samples"


@gin.configurable(denylist=["workdir", "data_dir", "download"])
def train(
    workdir: str,
    data_dir: str | None = None,
    download: bool = False,
    num_steps: int = gin.REQUIRED,
    d_steps: int = 1,
    seed: int = 0,
    ema_decay: float = 0.9999,
    ema_start: int = 2000,
    jit_compile: bool = False,
    deterministic: bool = False,
    tensor_float_32: bool = False,
    log_every: int = 50,
    sample_every: int = 500,
    num_samples: int = 64,
    save_every: int = 500,
    keep_last: int = 3,
    keep_every: int = 0,
) -> None:
    """Trains a GAN in `workdir`, going on from its newest checkpoint.

    SIGTERM and Ctrl-C finish the step, save and return.

    Args:
        workdir: Folder of the run; made if absent.
        data_dir: Where TFDS data sets are; None for the TFDS default.
        download: Whether a data set that is not there may be downloaded.
        num_steps: Generator updates in all.
        d_steps: Discriminator updates before each of them.
        seed: Of initial weights, latents and labels.
        ema_decay: Of the moving average of the generator's weights.
        ema_start: Step until which the average follows the weights.
        jit_compile: Whether XLA compiles the updates.
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

    Raises:
        ValueError: If a setting is out of range, settings do not fit together,
            or the run in `workdir` was started with other hyperparameters.
        FloatingPointError: If a loss or gradient is not finite.
    """
    check_integers(
        "train",
        1,
        num_steps=num_steps,
        d_steps=d_steps,
        log_every=log_every,
        sample_every=sample_every,
        num_samples=num_samples,
        save_every=save_every,
        keep_last=keep_last,
    )
    check_integers(
        "train", 0, seed=seed, ema_start=ema_start, keep_every=keep_every
    )
    check_numbers("train", 0, 1, ema_decay=ema_decay)
    check_booleans(
        "train",
        jit_compile=jit_compile,
        deterministic=deterministic,
        tensor_float_32=tensor_float_32,
    )
    check_writable(workdir)
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gan = make_gan(seed, ema_decay, ema_start, jit_compile)
    dataset = make_dataset(data_dir=data_dir, download=download)
    check_fit(dataset, gan)
    with hold(workdir):
        _resume(
            pathlib.Path(workdir),
            gan,
            dataset,
            num_steps,
            d_steps,
            num_samples,
            keep_last,
            keep_every,
            log_every=log_every,
            sample_every=sample_every,
            save_every=save_every,
        )


def _resume(
    workdir,
    gan,
    dataset,
    num_steps,
    d_steps,
    num_samples,
    keep_last,
    keep_every,
    **periods,
):
    """Restores what there is, records the session and runs what is left."""
    if checkpoint_steps(workdir / CHECKPOINT_FOLDER):
        check_config(workdir)
    checkpoints = Checkpoints(
        workdir / CHECKPOINT_FOLDER, gan.trackables(), keep_last, keep_every
    )
    start = checkpoints.restore_latest() or 0
    record_config(workdir)
    record_session(workdir, start)
    if start >= num_steps:
        logging.info("%s has all %d steps already.", workdir, num_steps)
        return
    logging.info("%s at step %d.", "Going on" if start else "Starting", start)
    grids = SampleGrids(
        workdir / SAMPLE_FOLDER,
        {"raw": gan.generator, "ema": gan.ema_generator},
        num_samples,
        score=agreement if dataset.name == "synthetic" else None,
    )
    grids.save_real(dataset)
    with RunLog(workdir, start, num_steps, d_steps * dataset.batch_size) as log:
        _run_steps(
            gan,
            iter(dataset.batches(first=start * d_steps).batch(d_steps)),
            range(start + 1, num_steps + 1),
            log=log,
            grids=grids,
            checkpoints=checkpoints,
            **periods,
        )


def _run_steps(
    gan,
    batches,
    steps,
    log,
    grids,
    checkpoints,
    log_every,
    sample_every,
    save_every,
):
    """Runs the training steps; writes what is due after each.

    The losses of a step are read after the next one has been started, so that
    the device does not wait for Python, except where something is due.
    """
    health = Health(scaled_loss=scales_loss(gan.g_optimizer))

    def check(step, scalars):
        names = ("d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm")
        values = {name: float(scalars[name]) for name in names}
        log.advance(d_loss=values["d_loss"], g_loss=values["g_loss"])
        health.check_finite(step, values, checkpoints.newest)

    timer = StepTimer()
    unread = None
    with stop_signals() as stop:
        for step in steps:
            with timer.input():
                images, labels = next(batches)
            with timer.step():
                scalars = gan.train_step(images, labels)
                if unread:
                    check(*unread)
            unread = step, scalars
            # Read once: a signal that comes later is for the next step.
            stopped_by = stop.requested
            last = stopped_by or step == steps[-1]
            logs, samples, saves = (
                last or step % every == 0
                for every in (log_every, sample_every, save_every)
            )
            if logs or samples or saves:
                with timer.step():
                    check(*unread)
                unread = None
            if step == steps[0]:
                logging.info("First step after %.1f s.", timer.busy)
                if not logs:
                    timer = StepTimer()
            if logs:
                values = {name: float(v) for name, v in scalars.items()}
                health.check_collapse(step, values)
                values |= timer.measure(log.images_per_step)
                values |= diagnose(gan, images.shape[0])
                log.scalars(step, values | (grids.scores() if samples else {}))
            if saves:
                checkpoints.save(step)
            if samples:
                grids.save(step, log)
            if stopped_by:
                logging.info(
                    "Stopped by %s after step %d, which is saved. The same "
                    "command goes on.",
                    stopped_by,
                    step,
                )
                break
