"""A run's folder during training: what the chief and the others do with it."""

import contextlib
import functools
import pathlib

from absl import logging

from sagan.data import ImageDataset, agreement, is_synthetic
from sagan.distributed.workers import Workers
from sagan.evaluation.attention import look
from sagan.evaluation.attention_report import draw
from sagan.evaluation.best import ScoresInTraining, generate_for_chief
from sagan.evaluation.protocol import make_evaluation
from sagan.gan import GAN
from sagan.latents import fixed_inputs
from sagan.layers.pointwise import implementations_of
from sagan.layers.recorder import has_attention
from sagan.runs.checkpoints import (
    CHECKPOINT_FOLDER,
    Checkpoints,
    checkpoint_steps,
)
from sagan.runs.files import lock_run
from sagan.runs.logs import RunLog
from sagan.runs.record import (
    check_config,
    check_data,
    record_config,
    record_session,
)
from sagan.runs.sample_grids import SampleGrids, save_png
from sagan.training.diagnostics import diagnose

SAMPLE_FOLDER = "samples"
# Images whose attention maps are drawn in training.
_LOOKS = 4


@contextlib.contextmanager
def open_run(workdir: str, workers: Workers, gan: GAN, dataset: ImageDataset):
    """Yields the run in `workdir`: a `Run` on the chief, else a `Follower`.

    Both have the same methods, so that every worker runs the same code.

    Raises:
        ValueError: If another process trains in `workdir`.
        OSError: If the disk is full or read-only, naming the place.
    """
    if not workers.is_chief:
        yield Follower(workers, gan)
        return
    with lock_run(workdir), contextlib.ExitStack() as stack:
        yield Run(pathlib.Path(workdir), workers, gan, dataset, stack)


class Run:
    """The chief's side of a run: checkpoints, records, logs, grids, scores.

    Args:
        workdir: Folder of the run, locked.
        workers: Workers that train together.
        gan: The `GAN` that is trained.
        dataset: The real images.
        stack: `ExitStack` that closes the log.
    """

    def __init__(self, workdir, workers, gan, dataset, stack):
        self.workdir = workdir
        self.workers = workers
        self.gan = gan
        self.dataset = dataset
        self.stack = stack
        self.scores = None

    def restore(self, keep_last: int, keep_every: int) -> int:
        """Restores the newest checkpoint on all workers; returns its step.

        Arguments are those of `Checkpoints`.

        Raises:
            ValueError: If the run was started with other hyperparameters or
                images, or its checkpoints cannot be read.
        """
        folder = self.workdir / CHECKPOINT_FOLDER
        if checkpoint_steps(folder):
            check_config(self.workdir)
            check_data(
                self.workdir,
                self.dataset.describe(),
                self.dataset.identity.latest,
            )
        self.checkpoints = Checkpoints(
            folder, self.gan.trackables(), keep_last, keep_every
        )
        step = self.checkpoints.restore_latest() or 0
        self.workers.copy_from_chief(self.gan.variables())
        return step

    def make_scores(
        self, data_dir: str | None, num_samples: int, statistics: str, by: str
    ) -> None:
        """Prepares scores in training, see `train.evaluate_every`."""
        evaluation = make_evaluation(
            self.workdir, data_dir, self.gan.strategy, num_samples=num_samples
        )
        self.scores = ScoresInTraining(
            self.workdir, evaluation, self.gan.ema_generator, by, statistics
        )

    def record(self, start: int, strategy: str) -> None:
        """Records config and session."""
        record_config(self.workdir)
        record_session(
            self.workdir,
            start,
            self.dataset.size,
            data=self.dataset.describe(),
            strategy=strategy,
            pointwise=sorted(
                implementations_of(self.gan.generator)
                | implementations_of(self.gan.discriminator)
            ),
            **self.workers.describe(),
        )

    def open_outputs(
        self, start: int, num_steps: int, d_steps: int, num_samples: int
    ) -> None:
        """Opens the log and prepares sample grids; arguments as for `train`."""
        verb = "Resuming" if start else "Starting"
        logging.info("%s at step %d%s.", verb, start, self.workers.on_what())
        score = agreement if is_synthetic(self.dataset.name) else None
        self.grids = SampleGrids(
            self.workdir / SAMPLE_FOLDER,
            {"raw": self.gan.generator, "ema": self.gan.ema_generator},
            num_samples,
            score,
        )
        self.grids.save_real(self.dataset)
        images_per_step = d_steps * self.dataset.batch_size
        log = RunLog(self.workdir, start, num_steps, images_per_step)
        self.log = self.stack.enter_context(log)
        self.d_steps = d_steps

    def advance(self, steps: int, **losses: float) -> None:
        """Moves the progress bar."""
        self.log.advance(steps, **losses)

    def write(
        self, step: int, values: dict[str, float], due, save_first: bool
    ) -> None:
        """Writes what is due after a step.

        Args:
            step: The step.
            values: Its scalars by name.
            due: As `Periods.due` returns it.
            save_first: Whether the rest may be cut short.
        """
        # Last, so that whatever is due has been written when there is a
        # checkpoint; first where that takes long, may fail or be cut short.
        save_first = save_first or "score" in due
        checkpoint = self.checkpoints.save(step) if save_first else None
        if "log" in due:
            values = values | diagnose(self.gan, self.d_steps)
            values |= self.grids.scores() if "sample" in due else {}
            values |= self.scores.measure(step) if "score" in due else {}
            values |= self._look(step) if "attention" in due else {}
            self.log.scalars(step, values)
        if "score" in due:
            self.scores.keep_best(checkpoint)
        if "sample" in due:
            self.grids.save(step, self.log)
        if "save" in due and not save_first:
            self.checkpoints.save(step)

    def _look(self, step):
        """Draws attention maps, if any, and returns their numbers."""
        generator = self.gan.ema_generator
        discriminator = self.gan.discriminator
        if not has_attention(generator, discriminator):
            return {}
        inputs = fixed_inputs(generator, _LOOKS, columns=1)
        looks = look(generator, discriminator, step, inputs)
        pixels = draw(looks)
        save_png(
            self.workdir / SAMPLE_FOLDER / f"step_{step:08d}_attention.png",
            pixels,
        )
        self.log.image(step, "attention", pixels)
        return looks.scalars()

    def newest_checkpoint(self) -> pathlib.Path | None:
        """Returns the folder of the newest checkpoint, or None."""
        return self.checkpoints.newest()


class Follower:
    """Any other worker's side of a run: it writes nothing.

    Its methods are those of `Run`.
    """

    checkpoints = None

    def __init__(self, workers, gan):
        self.workers = workers
        self.gan = gan

    def restore(self, keep_last, keep_every):
        self.workers.copy_from_chief(self.gan.variables())
        return int(self.gan.step.numpy())

    def make_scores(self, data_dir, num_samples, statistics, by):
        self.generate = functools.partial(
            generate_for_chief,
            self.gan.ema_generator,
            num_samples,
            statistics,
            self.gan.strategy,
        )

    def record(self, start, strategy):
        pass

    def open_outputs(self, start, num_steps, d_steps, num_samples):
        pass

    def advance(self, steps, **losses):
        pass

    def write(self, step, values, due, save_first):
        if "score" in due:
            self.generate()

    def newest_checkpoint(self):
        return "worker 0's"
