"""The training loop: steps, and what is due after them."""

from absl import logging

from sagan.diagnostics import diagnose
from sagan.health import Health, NotFiniteError
from sagan.logs import StepTimer
from sagan.optimizers import scales_loss
from sagan.signals import stop_signals


def step_calls(start, num_steps, steps_per_call):
    """Yields the numbers of the steps of each call.

    Calls end at multiples of `steps_per_call`, wherever the run starts.
    """
    starts = range(start - start % steps_per_call, num_steps, steps_per_call)
    for first in starts:
        yield range(
            max(start, first) + 1, min(first + steps_per_call, num_steps) + 1
        )


def run_steps(
    gan,
    batches,
    calls,
    log,
    grids,
    checkpoints,
    recovery,
    log_every,
    sample_every,
    save_every,
    scores=None,
    evaluate_every=0,
):
    """Runs the training steps; writes what is due after each call.

    The losses of a call are read after the next one has been started, so that
    the device does not wait for Python, except where something is due.

    Returns:
        The name of the signal that stopped the run before its end, or None.
    """
    health = Health(scaled_loss=scales_loss(gan.g_optimizer))

    def check(steps, scalars):
        names = ("d_loss", "g_loss", "d_gradient_norm", "g_gradient_norm")
        columns = [scalars[name].numpy() for name in names]
        is_finite = True
        for step, *row in zip(steps, *columns, strict=True):
            values = dict(zip(names, map(float, row), strict=True))
            try:
                health.check_finite(step, values, checkpoints.newest)
            except NotFiniteError as error:
                recovery.restore(steps[-1], error)
                is_finite = False
                break
        losses = {name: values[name] for name in ("d_loss", "g_loss")}
        log.advance(len(steps), **losses)
        return is_finite

    timer = StepTimer()
    unread = None
    with stop_signals() as stop:
        for number, steps in enumerate(calls):
            with timer.input(len(steps)):
                inputs = [next(batches) for _ in steps]
            with timer.step():
                scalars = gan.train_steps(inputs)
                if unread and not check(*unread):
                    # Made from what has been restored since.
                    scalars = gan.train_steps(inputs)
            unread = steps, scalars
            step = steps[-1]
            # Read once: a signal that comes later is for the next step.
            stopped_by = stop.requested
            last = stopped_by or step == log.num_steps
            logs, samples, saves = (
                last or step % every == 0
                for every in (log_every, sample_every, save_every)
            )
            scored = (
                scores
                and not stopped_by  # Whoever stops it does not want to wait.
                and (last or step % evaluate_every == 0)
            )
            logs = logs or scored
            if logs or samples or saves:
                with timer.step():
                    check(*unread)
                unread = None
            if number == 0:
                logging.info("First step after %.1f s.", timer.busy)
                if not logs:
                    timer = StepTimer()
            # Last, so that whatever is due has been written when there is a
            # checkpoint; first where that takes long, may fail or be cut short.
            first = scored or stopped_by
            checkpoint = checkpoints.save(step) if first else None
            if logs:
                values = {name: float(v[-1]) for name, v in scalars.items()}
                health.check_collapse(step, values)
                values |= timer.measure(log.images_per_step)
                values |= diagnose(gan, d_steps=len(inputs[0][0]))
                values |= grids.scores() if samples else {}
                values |= scores.measure(step) if scored else {}
                log.scalars(step, values)
            if scored:
                scores.keep_best(checkpoint)
            if samples:
                grids.save(step, log)
            if saves and not first:
                checkpoints.save(step)
            if step == log.num_steps:
                logging.info("All %d steps are made.", step)
                stopped_by = None
            if stopped_by:
                logging.info(
                    "Stopped by %s after step %d, which is saved. The same "
                    "command goes on.",
                    stopped_by,
                    step,
                )
                break
    return stopped_by
