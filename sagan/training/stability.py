"""Detects non-finite losses and collapse, and recovers from the former."""

import math

from absl import logging

from sagan.distributed.workers import Workers
from sagan.gan import GAN
from sagan.runs.checkpoints import Checkpoints

# Dynamic loss scaling skips an update whose gradients overflow and halves the
# scale, so some steps in a row may fail before the scale fits.
_MAX_SKIPPED = 30


# Below this share of the real images' spread, samples are called constant.
_CONSTANT = 0.1


# This many logged steps in a row, no logit on the other side.
_ONE_SIDED = 20


class NotFiniteError(FloatingPointError):
    """Values that are not finite.

    Attributes:
        problem: Which, at which step.
    """

    def __init__(self, problem: str, advice: str):
        super().__init__(f"{problem}. {advice}")
        self.problem = problem


class Health:
    """Watches the scalars of a run.

    Args:
        scaled_loss: Whether losses are scaled dynamically, in which case
            non-finite values are expected now and then.
    """

    def __init__(self, scaled_loss: bool):
        self.allowed = _MAX_SKIPPED if scaled_loss else 0
        self.failures = 0
        self.extremes = []
        self.warned = set()

    def check_finite(self, step: int, scalars, last_good) -> bool:
        """Checks the scalars of a step.

        Args:
            step: Step of the scalars.
            scalars: Floats by name.
            last_good: Function that returns the path of the last checkpoint,
                or None.

        Returns:
            Whether all are finite.

        Raises:
            NotFiniteError: If they are not, more times in a row than loss
                scaling explains.
        """
        bad = {k: v for k, v in scalars.items() if not math.isfinite(v)}
        if not bad:
            self.failures = 0
            return True
        self.failures += 1
        if self.failures <= self.allowed:
            return False
        self.failures = 0
        newest = last_good()
        good = f"its last good checkpoint is {newest}"
        if not newest:
            good = "it had not saved a checkpoint yet"
        values = ", ".join(f"{k} is {v}" for k, v in sorted(bad.items()))
        raise NotFiniteError(
            f"Step {step}: {values}",
            f"The run stops; {good}. Try lower "
            "learning rates or build_generator.precision = 'float32'.",
        )

    def check_collapse(self, step: int, scalars) -> None:
        """Logs a warning when a sign of collapse begins to show."""
        spread = 1.0  # Of a single image there is none to compare.
        if scalars["real_std"]:
            spread = scalars["fake_std"] / scalars["real_std"]
        self._warn(
            spread < _CONSTANT,
            "Step %d: the samples of a batch hardly differ (their spread is "
            "%.3f of the real images'): the generator may have collapsed.",
            step,
            spread,
        )
        accuracies = (scalars["real_accuracy"], scalars["fake_accuracy"])
        self.extremes = [*self.extremes, accuracies][-_ONE_SIDED:]
        self._warn(
            self.extremes == [(1.0, 1.0)] * _ONE_SIDED,
            "Step %d: the discriminator has told every image apart at the "
            "last %d logged steps: the generator may get no useful gradient.",
            step,
            _ONE_SIDED,
        )
        self._warn(
            self.extremes
            in ([(1.0, 0.0)] * _ONE_SIDED, [(0.0, 1.0)] * _ONE_SIDED),
            "Step %d: all logits had one sign at the last %d logged steps: the "
            "discriminator tells nothing apart.",
            step,
            _ONE_SIDED,
        )

    def _warn(self, condition, message, *values):
        if not condition:
            self.warned.discard(message)
        elif message not in self.warned:
            self.warned.add(message)
            logging.warning(message, *values)


class Recovery:
    """Restores everything except the step from the newest checkpoint.

    Images and latents are functions of the step, so those that led to the
    failure do not return, the run depends on nothing but the checkpoint, and
    it ends at the step it was meant to end at.

    Args:
        gan: The `GAN` that is trained.
        workers: Workers, which restore together.
        checkpoints: Checkpoints of the run; None if not the chief.
        max_restores: Maximum number of restores in this process.
    """

    def __init__(
        self,
        gan: GAN,
        workers: Workers,
        checkpoints: Checkpoints | None,
        max_restores: int,
    ):
        self.gan = gan
        self.workers = workers
        self.checkpoints = checkpoints
        self.left = max_restores

    def restore(self, step: int, error: FloatingPointError) -> None:
        """Restores everything except the step.

        Args:
            step: Last step that was run.
            error: `NotFiniteError` of it or of one before it.

        Raises:
            FloatingPointError: `error`, if there is no restore left or no
                checkpoint.
        """
        if not self.left or not self._has_checkpoint():
            raise error
        self.left -= 1
        if self.checkpoints:
            self.checkpoints.restore_latest()
        self.workers.copy_from_chief(self.gan.variables())
        restored = int(self.gan.step.numpy())
        self.gan.step.assign(step)
        logging.warning(
            "%s. The state of step %d is restored: the updates of steps %d to "
            "%d are dropped. Restores left: %d.",
            error.problem,
            restored,
            restored + 1,
            step,
            self.left,
        )

    def _has_checkpoint(self):
        return self.workers.any_worker(
            self.checkpoints is not None
            and self.checkpoints.newest() is not None
        )
