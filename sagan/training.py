"""Training: from a config to a run that goes on or starts."""

import pathlib

import gin
import tensorflow as tf
from absl import logging

from sagan.assembly import check_fit, make_gan
from sagan.checkpoints import Checkpoints, checkpoint_steps
from sagan.data import agreement, make_dataset
from sagan.evaluation.best import HIGHER, LOWER, ScoresInTraining
from sagan.evaluation.evaluation import make_evaluation
from sagan.logs import RunLog
from sagan.loop import run_steps, step_calls
from sagan.record import (
    check_config,
    check_images,
    record_config,
    record_session,
)
from sagan.sampling import SampleGrids
from sagan.settings import (
    check_booleans,
    check_choices,
    check_integers,
    check_multiples,
    check_numbers,
)
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
    jit_compile: bool | None = None,
    joint_batch: bool = True,
    accumulation: int = 1,
    deterministic: bool = False,
    tensor_float_32: bool = False,
    log_every: int = 50,
    sample_every: int = 500,
    num_samples: int = 64,
    save_every: int = 500,
    keep_last: int = 3,
    keep_every: int = 0,
    steps_per_call: int = 1,
    evaluate_every: int = 0,
    evaluate_samples: int = 2048,
    best_by: str = "fid",
) -> None:
    """Trains a GAN in `workdir`, going on from its newest checkpoint.

    SIGTERM and Ctrl-C finish the call under way, save and return.

    Args:
        workdir: Folder of the run; made if absent.
        data_dir: Where TFDS data sets are; None for the TFDS default.
        download: Whether a data set that is not there may be downloaded.
        num_steps: Generator updates in all.
        d_steps: Discriminator updates before each of them.
        seed: Of initial weights, latents and labels.
        ema_decay: Of the moving average of the generator's weights.
        ema_start: Step until which the average follows the weights.
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
        best_by: Score that the best checkpoint is best by, such as "fid".

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
        accumulation=accumulation,
        log_every=log_every,
        sample_every=sample_every,
        num_samples=num_samples,
        save_every=save_every,
        keep_last=keep_last,
        steps_per_call=steps_per_call,
    )
    check_multiples(
        "train",
        "steps_per_call",
        steps_per_call,
        log_every=log_every,
        sample_every=sample_every,
        save_every=save_every,
        evaluate_every=evaluate_every,
    )
    check_integers(
        "train",
        0,
        seed=seed,
        ema_start=ema_start,
        keep_every=keep_every,
        evaluate_every=evaluate_every,
    )
    check_integers("train", 2, evaluate_samples=evaluate_samples)
    check_choices("train.best_by", [best_by], (*LOWER, *HIGHER))
    check_numbers("train", 0, 1, ema_decay=ema_decay)
    if jit_compile is not None:
        check_booleans("train", jit_compile=jit_compile)
    check_booleans(
        "train",
        joint_batch=joint_batch,
        deterministic=deterministic,
        tensor_float_32=tensor_float_32,
    )
    check_writable(workdir)
    tf.config.experimental.enable_tensor_float_32_execution(tensor_float_32)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gan = make_gan(
        seed=seed,
        ema_decay=ema_decay,
        ema_start=ema_start,
        jit_compile=jit_compile,
        joint_batch=joint_batch,
        accumulation=accumulation,
    )
    dataset = make_dataset(data_dir=data_dir, download=download)
    check_fit(dataset, gan)

    def make_scores():
        evaluation = make_evaluation(
            workdir, data_dir, num_samples=evaluate_samples
        )
        return ScoresInTraining(workdir, evaluation, gan.ema_generator, best_by)

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
            steps_per_call,
            make_scores if evaluate_every else lambda: None,
            log_every=log_every,
            sample_every=sample_every,
            save_every=save_every,
            evaluate_every=evaluate_every,
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
    steps_per_call,
    make_scores,
    **periods,
):
    """Restores what there is, records the session and runs what is left."""
    if checkpoint_steps(workdir / CHECKPOINT_FOLDER):
        check_config(workdir)
        check_images(workdir, dataset.size)
    checkpoints = Checkpoints(
        workdir / CHECKPOINT_FOLDER, gan.trackables(), keep_last, keep_every
    )
    start = checkpoints.restore_latest() or 0
    scores = make_scores() if start < num_steps else None
    record_config(workdir)
    record_session(workdir, start, dataset.size)
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
        run_steps(
            gan,
            dataset.checked(dataset.steps(d_steps, first=start)),
            step_calls(start, num_steps, steps_per_call),
            log=log,
            grids=grids,
            checkpoints=checkpoints,
            scores=scores,
            **periods,
        )
