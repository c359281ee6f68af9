"""The training loop: steps, and what is due after them."""

import dataclasses
import functools
from collections.abc import Callable

from absl import logging

from sagan.distributed.workers import Workers
from sagan.evaluation.best import ScoresInTraining
from sagan.gan import GAN
from sagan.optimizers import scales_loss
from sagan.runs.checkpoints import Checkpoints
from sagan.runs.logs import RunLog, StepTimer
from sagan.runs.sample_grids import SampleGrids
from sagan.runs.signals import stop_signals
from sagan.training.diagnostics import diagnose
from sagan.training.stability import Health, NotFiniteError, Recovery

# The scalars that say whether a step was sound.
_WATCHED = ("d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm")


def step_calls(start, num_steps, steps_per_call):
    """Yields the numbers of the steps of each call.

    Calls end at multiples of `steps_per_call`, wherever the run starts.
    """
    starts = range(start - start % steps_per_call, num_steps, steps_per_call)
    for first in starts:
        yield range(
            max(start, first) + 1, min(first + steps_per_call, num_steps) + 1
        )


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


def run_steps(
    gan,
    batches,
    calls,
    num_steps: int,
    periods: Periods,
    workers: Workers,
    recovery: Recovery,
    outputs: Outputs | None,
    assist: Callable[[], None] | None = None,
) -> str | None:
    """Runs the training steps; writes what is due after each call.

    The losses of a call are read after the next one has been started, so that
    the device does not wait for Python, except where something is due.

    Args:
        gan: The `GAN`.
        batches: Iterator of each step's images and labels.
        calls: The numbers of the steps of each call.
        num_steps: The last of them.
        periods: When what is due.
        workers: That run the same loop.
        recovery: From losses that are not finite.
        outputs: Where it is written; None for a worker that writes nothing.
        assist: What such a worker does when a score is due.

    Returns:
        The name of the signal that stopped the run before its end, or None.
    """
    health = Health(scaled_loss=scales_loss(gan.g_optimizer))
    read = functools.partial(_read, health, recovery, outputs)
    timer = StepTimer()
    unread = None
    with stop_signals() as stop:
        for number, steps in enumerate(calls):
            with timer.input(len(steps)):
                inputs = [next(batches) for _ in steps]
            with timer.step():
                scalars = gan.train_steps(inputs)
                if unread and not read(*unread):
                    # Made from what has been restored since.
                    scalars = gan.train_steps(inputs)
            unread = steps, scalars
            step = steps[-1]
            # Asked once: a signal that comes later is for the next step.
            stopped = workers.any_says(stop.requested is not None)
            due = periods.due(step, stopped or step == num_steps, stopped)
            if due:
                with timer.step():
                    read(*unread)
                unread = None
            if number == 0:
                logging.info("First step after %.1f s.", timer.busy)
                if "log" not in due:
                    timer = StepTimer()
            if due and outputs:
                values = {name: float(v[-1]) for name, v in scalars.items()}
                if "log" in due:
                    health.check_collapse(step, values)
                    values |= timer.measure(outputs.log.images_per_step)
                outputs.write(step, values, due, save_first=stopped)
            elif "score" in due:
                assist()
            if stopped and step < num_steps:
                # If not this worker, another was asked to stop.
                stopped_by = stop.requested or "SIGTERM"
                logging.info(
                    "Stopped by %s after step %d%s. The same command goes on.",
                    stopped_by,
                    step,
                    ", which is saved" if outputs else "",
                )
                return stopped_by
    logging.info("All %d steps are made.", num_steps)
    return None


def _read(health, recovery, outputs, steps, scalars) -> bool:
    """Waits for the losses of some steps, checks and shows them.

    Returns:
        Whether they are finite; if not, the run is restored.
    """
    columns = [scalars[name].numpy() for name in _WATCHED]
    newest = outputs.checkpoints.newest if outputs else lambda: "worker 0's"
    for step, *row in zip(steps, *columns, strict=True):
        values = dict(zip(_WATCHED, map(float, row), strict=True))
        try:
            health.check_finite(step, values, newest)
        except NotFiniteError as error:
            recovery.restore(steps[-1], error)
            return False
    if outputs:
        losses = {name: values[name] for name in ("d_loss", "g_loss")}
        outputs.log.advance(len(steps), **losses)
    return True
