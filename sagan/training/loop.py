"""The training loop: steps, and what is due after them."""

import dataclasses
import functools

from absl import logging

from sagan.distributed.workers import Workers
from sagan.optimizers import scales_loss
from sagan.runs.logs import StepTimer
from sagan.runs.signals import stop_signals
from sagan.training.run import Follower, Run
from sagan.training.stability import Health, NotFiniteError, Recovery

# Scalars that show whether a step was sound.
_WATCHED = ("d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm")


def step_calls(start, num_steps, steps_per_call):
    """Yields the numbers of the steps of each call of the compiled function.

    Calls end at multiples of `steps_per_call`, wherever the run starts.
    """
    starts = range(start - start % steps_per_call, num_steps, steps_per_call)
    for first in starts:
        yield range(
            max(start, first) + 1, min(first + steps_per_call, num_steps) + 1
        )


@dataclasses.dataclass(frozen=True)
class Periods:
    """Steps between outputs of a run, as the arguments of `train`.

    Attributes:
        log_every: Steps between records of scalars.
        sample_every: Steps between sample grids.
        save_every: Steps between checkpoints.
        evaluate_every: Steps between scores; 0 for none.
        attention_every: Steps between attention maps; 0 for none.
    """

    log_every: int
    sample_every: int
    save_every: int
    evaluate_every: int = 0
    attention_every: int = 0

    def check(self, steps_per_call: int) -> None:
        """Checks that something can be due only after the last step of a call.

        Raises:
            ValueError: If a period is not a multiple of `steps_per_call`.
        """
        for name, period in dataclasses.asdict(self).items():
            if period % steps_per_call:
                raise ValueError(
                    f"train.{name} is {period}: expected a multiple of "
                    f"train.steps_per_call, which is {steps_per_call}."
                )

    def due(self, step: int, last: bool, stopped: bool) -> frozenset[str]:
        """Returns what is due after a step.

        Args:
            step: The step.
            last: Whether no other follows.
            stopped: Whether the run was asked to stop.

        Returns:
            Some of "log", "sample", "save", "score" and "attention".
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
        for what, every in (
            ("score", self.evaluate_every),
            ("attention", self.attention_every),
        ):
            if every and not stopped and (last or step % every == 0):
                due |= {"log", what}
        return frozenset(due)


def run_steps(
    gan,
    batches,
    calls,
    num_steps: int,
    images_per_step: int,
    periods: Periods,
    workers: Workers,
    recovery: Recovery,
    run: Run | Follower,
) -> str | None:
    """Runs the training steps; writes what is due after each call.

    The losses of a call are read after the next one has been started, so that
    the device does not wait for Python, except where something is due.

    Args:
        gan: The `GAN`.
        batches: Iterator of the images and labels of each step.
        calls: Numbers of the steps of each call.
        num_steps: The last of them.
        images_per_step: Real images that a step uses.
        periods: When what is due.
        workers: Workers that run the same loop.
        recovery: Recovery from losses that are not finite.
        run: What is due is written to it.

    Returns:
        Name of the signal that stopped the run before its end, or None.
    """
    health = Health(scaled_loss=scales_loss(gan.g_optimizer))
    read = functools.partial(_read, health, recovery, run)
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
            stopped = workers.any_worker(stop.requested is not None)
            due = periods.due(step, stopped or step == num_steps, stopped)
            if due:
                with timer.step():
                    read(*unread)
                unread = None
            if number == 0:
                logging.info("First step after %.1f s.", timer.busy)
                if "log" not in due:
                    timer = StepTimer()
            if due:
                values = {name: float(v[-1]) for name, v in scalars.items()}
                if "log" in due:
                    health.check_collapse(step, values)
                    values |= timer.measure(images_per_step)
                run.write(step, values, due, save_first=stopped)
            if stopped and step < num_steps:
                # If not this worker, another was asked to stop.
                stopped_by = stop.requested or "SIGTERM"
                logging.info(
                    "Stopped by %s after step %d, which is saved. The same "
                    "command resumes the run.",
                    stopped_by,
                    step,
                )
                return stopped_by
    logging.info("All %d steps are done.", num_steps)
    return None


def _read(health, recovery, run, steps, scalars) -> bool:
    """Waits for the losses of some steps, checks and shows them.

    Returns:
        Whether they are finite; if not, the run is restored.
    """
    columns = [scalars[name].numpy() for name in _WATCHED]
    for step, *row in zip(steps, *columns, strict=True):
        values = dict(zip(_WATCHED, map(float, row), strict=True))
        try:
            health.check_finite(step, values, run.newest_checkpoint)
        except NotFiniteError as error:
            recovery.restore(steps[-1], error)
            return False
    losses = {name: values[name] for name in ("d_loss", "g_loss")}
    run.advance(len(steps), **losses)
    return True
