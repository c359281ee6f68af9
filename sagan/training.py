"""The training loop."""

import contextlib
import pathlib
import signal

import gin
import keras
import numpy as np
import tensorflow as tf
from absl import logging

from sagan.checkpoints import Checkpoints, checkpoint_steps
from sagan.data import make_dataset
from sagan.gan import GAN
from sagan.health import Health
from sagan.layers.spectral_norm import spectral_layers
from sagan.logs import RunLog, StepTimer, peak_memory_bytes
from sagan.networks import (
    attention_blocks,
    build_discriminator,
    build_generator,
)
from sagan.optimizers import loss_scale, make_optimizers, updates_applied
from sagan.record import check_config, record_config, record_session
from sagan.sampling import fixed_inputs, generate, make_grid, save_png

CHECKPOINT_FOLDER = "checkpoints"
SAMPLE_FOLDER = "samples"


@gin.configurable
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
        jit_compile: Whether XLA compiles the step.
        deterministic: Whether all operations are deterministic, so that a
            resumed run equals an undisturbed one to the bit on a GPU too.
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
    _check_positive(
        num_steps=num_steps,
        d_steps=d_steps,
        log_every=log_every,
        sample_every=sample_every,
        num_samples=num_samples,
        save_every=save_every,
    )
    workdir = pathlib.Path(workdir)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    dataset = make_dataset(data_dir=data_dir, download=download)
    gan = _make_gan(seed, ema_decay, ema_start, jit_compile)
    _check_fit(dataset, gan)
    if checkpoint_steps(workdir / CHECKPOINT_FOLDER):
        check_config(workdir)
    checkpoints = Checkpoints(
        workdir / CHECKPOINT_FOLDER, gan.trackables(), keep_last, keep_every
    )
    start = checkpoints.restore_latest() or 0
    record_config(workdir)
    record_session(workdir, start)
    if start >= num_steps:
        logging.info("%s has all %d steps already.", workdir, start)
        return
    logging.info("%s at step %d.", "Going on" if start else "Starting", start)
    grids = _SampleGrids(workdir / SAMPLE_FOLDER, gan, num_samples)
    grids.save_real(dataset)
    with RunLog(workdir, start, num_steps) as log:
        _run_steps(
            gan,
            iter(dataset.batches(first=start * d_steps).batch(d_steps)),
            range(start + 1, num_steps + 1),
            log=log,
            log_every=log_every,
            grids=grids,
            sample_every=sample_every,
            checkpoints=checkpoints,
            save_every=save_every,
        )


def _run_steps(
    gan,
    batches,
    steps,
    log,
    log_every,
    grids,
    sample_every,
    checkpoints,
    save_every,
):
    """Runs the training steps; writes what is due after each.

    The scalars of a step are read after the next one has been started, so
    that the device does not wait for Python, except where something is due.
    """
    health = Health(scaled_loss=loss_scale(gan.g_optimizer) != 1.0)
    timer = StepTimer()
    with _stop_signals() as stop:
        pending = None
        for step in steps:
            with timer.input():
                images, labels = next(batches)
            with timer.step():
                scalars = gan.train_step(images, labels)
                if pending:
                    _check(health, *pending, log, checkpoints)
            pending = step, scalars
            last = stop.requested or step == steps[-1]
            if last or any(
                step % every == 0
                for every in (log_every, sample_every, save_every)
            ):
                with timer.step():
                    good = _check(health, *pending, log, checkpoints)
                pending = None
            if step == steps[0]:
                logging.info("First step after %.1f s.", timer.busy)
            if step % log_every == 0 or last:
                values = {k: float(v) for k, v in scalars.items()}
                health.check_collapse(step, values)
                values |= timer.measure(images.shape[0] * images.shape[1])
                log.scalars(step, values | _diagnostics(gan, images.shape[0]))
            if step % sample_every == 0 or last:
                grids.save(step, log)
            if (step % save_every == 0 or last) and good:
                checkpoints.save(step)
            if stop.requested:
                logging.info(
                    "Stopped by %s after step %d, which is saved. The same "
                    "command goes on.",
                    stop.requested,
                    step,
                )
                break


def _check(health, step, scalars, log, checkpoints):
    """Reads a step's losses; stops the run if they are not finite."""
    names = ("d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm")
    values = {name: float(scalars[name]) for name in names}
    log.advance(d_loss=values["d_loss"], g_loss=values["g_loss"])
    return health.check_finite(step, values, checkpoints.newest())


def _diagnostics(gan, d_steps):
    """Returns what is worth logging of the networks and optimisers."""
    values = {"peak_memory_gb": peak_memory_bytes() / 1e9}
    for network in (gan.generator, gan.discriminator):
        for name, block in attention_blocks(network).items():
            values[f"{network.name}/gamma/{name}"] = float(block.gamma.numpy())
        for layer in spectral_layers(network):
            name = f"{network.name}/sigma/{type(layer).__name__}"
            sigma = float(layer.largest_singular_value())
            values[name] = max(sigma, values.get(name, 0.0))
    step = int(gan.step.numpy())
    for letter, optimizer, updates in (
        ("g", gan.g_optimizer, step),
        ("d", gan.d_optimizer, step * d_steps),
    ):
        values[f"{letter}_learning_rate"] = float(optimizer.learning_rate)
        values[f"{letter}_loss_scale"] = loss_scale(optimizer)
        values[f"{letter}_skipped_updates"] = updates - updates_applied(
            optimizer
        )
    return values


class _SampleGrids:
    """Draws the same latents again and again as training goes on."""

    def __init__(self, folder, gan, num_samples):
        self.folder = folder
        self.gan = gan
        self.num_samples = num_samples
        self.inputs = fixed_inputs(gan.generator, num_samples)

    def save(self, step, log):
        """Writes a grid of the raw and one of the averaged generator."""
        for name, generator in (
            ("raw", self.gan.generator),
            ("ema", self.gan.ema_generator),
        ):
            grid = make_grid(generate(generator, *self.inputs))
            save_png(self.folder / f"step_{step:08d}_{name}.png", grid)
            log.image(step, f"samples_{name}", grid)

    def save_real(self, dataset):
        """Writes, once, real images as the discriminator sees them."""
        path = self.folder / "real.png"
        if path.exists():
            return
        images = np.concatenate(
            [
                images.numpy()
                for images, _ in dataset.batches().take(
                    -(-self.num_samples // dataset.batch_size)
                )
            ]
        )
        save_png(path, make_grid(images[: self.num_samples]))


def _make_gan(seed, ema_decay, ema_start, jit_compile):
    keras.utils.set_random_seed(seed)
    generator = build_generator()
    discriminator = build_discriminator()
    mixed_float16 = generator.dtype_policy.name == "mixed_float16"
    return GAN(
        generator,
        discriminator,
        build_generator(),
        *make_optimizers(mixed_float16),
        seed=seed,
        ema_decay=ema_decay,
        ema_start=ema_start,
        jit_compile=jit_compile,
    )


def _check_fit(dataset, gan):
    """Checks that data, generator and discriminator agree."""
    data = (dataset.image_size, dataset.channels, dataset.num_classes)
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


def _check_positive(**values):
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"train.{name} is {value!r}: expected an integer of at least 1."
            )


class _Stop:
    requested = None


@contextlib.contextmanager
def _stop_signals():
    """Turns the first SIGTERM or Ctrl-C into a request to stop.

    A second one has its usual effect.
    """
    stop = _Stop()

    def request(number, frame):
        del frame
        stop.requested = signal.Signals(number).name
        signal.signal(number, previous[number])

    signals = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
