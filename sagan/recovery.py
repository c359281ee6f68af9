"""Going on after losses that are not finite."""

from absl import logging


class Recovery:
    """Puts a run back to its newest checkpoint, all but its step.

    Images and latents are functions of the step, so those that led to the
    failure do not come again, nothing but the checkpoint says how the run goes
    on, and it ends where it was to end.

    Args:
        checkpoints: The run's `Checkpoints`.
        step: Variable that counts the steps; `GAN.step`.
        max_restores: How often, as long as the process lasts; 0 for never.
    """

    def __init__(self, checkpoints, step, max_restores: int):
        self.checkpoints = checkpoints
        self.step = step
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
        if not self.left or self.checkpoints.newest() is None:
            raise error
        self.left -= 1
        restored = self.checkpoints.restore_latest()
        self.step.assign(step)
        logging.warning(
            "%s. The state of step %d is restored: the updates of steps %d to "
            "%d are dropped. Restores left: %d.",
            error.problem,
            restored,
            restored + 1,
            step,
            self.left,
        )
