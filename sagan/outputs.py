"""What the chief writes of a run, and when."""

import dataclasses

from sagan.checkpoints import Checkpoints
from sagan.diagnostics import diagnose
from sagan.evaluation.best import ScoresInTraining
from sagan.gan import GAN
from sagan.logs import RunLog
from sagan.sampling import SampleGrids


@dataclasses.dataclass(frozen=True)
class Periods:
    """Steps between what is written: as the arguments of `train`.

    Attributes:
        log_every: Between records of scalars.
        sample_every: Between sample grids.
        save_every: Between checkpoints.
        evaluate_every: Between scores; 0 for none.
    """

    log_every: int
    sample_every: int
    save_every: int
    evaluate_every: int = 0

    def due(self, step: int, last: bool, stopped: bool) -> frozenset[str]:
        """Returns what is due after a step.

        Args:
            step: That has been made.
            last: Whether no other follows.
            stopped: Whether somebody waits for the run to stop.

        Returns:
            Of "log", "sample", "save" and "score".
        """
        due = {
            what
            for what, every in (
                ("log", self.log_every),
                ("sample", self.sample_every),
                ("save", self.save_every),
            )
            if last or step % every == 0
        }
        every = self.evaluate_every
        if every and not stopped and (last or step % every == 0):
            due |= {"log", "score"}
        return frozenset(due)


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Where a run's scalars, grids, checkpoints and scores go.

    Attributes:
        gan: Whose they are.
        d_steps: Discriminator updates a step.
        log: Of scalars.
        grids: Of samples.
        checkpoints: Of all state.
        scores: Of the moving average, or None.
    """

    gan: GAN
    d_steps: int
    log: RunLog
    grids: SampleGrids
    checkpoints: Checkpoints
    scores: ScoresInTraining | None = None

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
            self.log.scalars(step, values)
        if "score" in due:
            self.scores.keep_best(checkpoint)
        if "sample" in due:
            self.grids.save(step, self.log)
        if "save" in due and not save_first:
            self.checkpoints.save(step)
