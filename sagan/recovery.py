"""Going on after losses that are not finite."""

from absl import logging

from sagan.checkpoints import Checkpoints
from sagan.gan import GAN
from sagan.workers import Workers


class Recovery:
    """Puts a run back to its newest checkpoint, all but its step.

    Images and latents are functions of the step, so those that led to the
    failure do not come again, nothing but the checkpoint says how the run goes
    on, and it ends where it was to end.

    Args:
        gan: The `GAN` that is trained.
        workers: All of which must restore together.
        checkpoints: Of the run; None for a worker that is not the chief.
        max_restores: How often, as long as the process lasts; 0 for never.
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
        """Restores all but the step.

        Args:
            step: The last one made.
            error: `NotFiniteError`, what has failed in it or in one before it.

        Raises:
            FloatingPointError: `error`, if no restore is left or there is no
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
        return self.workers.any_says(
            self.checkpoints is not None
            and self.checkpoints.newest() is not None
        )
