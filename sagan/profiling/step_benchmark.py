"""Times the step of a config, and its forms against each other."""

import dataclasses
import itertools
import math
import time

import gin
from absl import logging

from sagan.config import config_batch_size, parse_config
from sagan.data import make_dataset
from sagan.profiling.memory import peak_growth
from sagan.profiling.op_times import PartSeconds, seconds_by_part
from sagan.profiling.rates import (
    Ceilings,
    ceiling_calls,
    ceilings_of,
    convolution,
)
from sagan.profiling.step import (
    REWRITES,
    Step,
    bind_rewrites,
    constant_batch,
    make_step,
)
from sagan.profiling.timing import Timing, summarise, time_in_turn, wait
from sagan.runs.machine import describe_machine

REWRITTEN, PLAIN, CONFIG = "rewritten", "plain", "config"
WITH_DATA, WITHOUT_DATA = "steps with data", "steps without"
_CEILING = "ceiling"
# A sample of steps with data lasts at least so long, and so many steps, that
# what the input had ready before is a small part of it.
_INPUT_SECONDS = 5.0
_FEWEST_INPUT_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        steps: By form: `REWRITTEN` and what it is compared with, or `CONFIG`
            and that with a binding.
        timings: By form and call, seconds; of the first form also a step
            `WITH_DATA` and one `WITHOUT_DATA`, if asked for.
        seconds: By form, seconds of a step by part, summed over threads.
        peaks: By form and call, bytes held beyond weights and batch.
        ceilings: Peak rates of the machine in the activations' dtype.
        machine: Name of the machine.
    """

    steps: dict[str, Step]
    timings: dict[tuple[str, str], Timing]
    seconds: dict[str, dict[str, PartSeconds]]
    peaks: dict[tuple[str, str], int | None]
    ceilings: Ceilings
    machine: str


def measure(
    config_files, bindings, batch_size, compare, data, data_dir, samples
) -> Report:
    """Builds and times the step of a config.

    Args:
        config_files: Paths of gin files, as for `sagan.config.parse_config`.
        bindings: Settings that override them.
        batch_size: Images in a batch; None for the config's.
        compare: What the form with all `REWRITES` is measured in turn with:
            `PLAIN`, which has none, or the form without the one of this name.
            With a binding, `"make_objective.r1 = 0.1"`, the config without it
            is measured in turn with that with it. None measures the form of
            the config alone.
        data: Whether steps are also timed with the config's images.
        data_dir: Folder of TFDS datasets.
        samples: Samples of each timing.
    """
    forms = _forms(compare)
    # Mistakes in either cost no benchmark.
    for form in reversed(forms):
        own = [form] if is_binding(form) else []
        parse_config(config_files, [*bindings, *own])
    if batch_size is None:
        batch_size = config_batch_size()
    # First, so that missing data costs no benchmark.
    dataset = _dataset(data_dir, batch_size) if data else None
    steps = {}
    for form, rewrites in forms.items():
        if is_binding(form):
            parse_config(config_files, [*bindings, form])
        elif rewrites is not None:
            bind_rewrites(rewrites)
        steps[form] = make_step(batch_size)
        seconds = steps[form].first_step_seconds
        logging.info("%s: first step after %.1f s.", form, seconds)
    calls = {
        (form, name): call
        for form, step in steps.items()
        for name, call in step.calls.items()
    }
    first = next(iter(steps))
    shape = convolution(steps[first].gan.generator.compute_dtype)
    limits = {
        (_CEILING, name): call for name, call in ceiling_calls(shape).items()
    }
    # In turn with what they limit: on a shared machine both change.
    timings = time_in_turn(calls | limits, samples)
    ceilings = {name: timings.pop((_CEILING, name)) for _, name in limits}
    if dataset:
        seconds = timings[first, "step"].median
        with_data = _time_input(steps[first], dataset, seconds, samples)
        timings |= {(first, name): t for name, t in with_data.items()}
    return Report(
        steps,
        timings,
        {f: seconds_by_part(step.calls["step"]) for f, step in steps.items()},
        {key: peak_growth(call) for key, call in calls.items()},
        ceilings_of({name: t.median for name, t in ceilings.items()}, shape),
        describe_machine(),
    )


def is_binding(compare: str) -> bool:
    """Returns whether a form is a config's with a binding."""
    return "=" in compare


def _forms(compare):
    """Returns the rewrites of each form to measure; None for the config's."""
    if compare is None:
        return {CONFIG: None}
    if is_binding(compare):
        return {CONFIG: None, compare: None}
    if compare == PLAIN:
        return {REWRITTEN: REWRITES.keys(), PLAIN: ()}
    return {
        REWRITTEN: REWRITES.keys(),
        f"without {compare}": REWRITES.keys() - {compare},
    }


def _dataset(data_dir, batch_size):
    with gin.unlock_config():
        gin.bind_parameter("make_dataset.batch_size", batch_size)
    return make_dataset(data_dir=data_dir)


def _time_input(step, dataset, seconds, samples):
    """Times runs of steps on images and on a constant batch, in turn.

    The images of each run are read again, and nothing is read during the other
    runs, so that an input that is too slow shows as longer steps.
    """
    count = max(_FEWEST_INPUT_STEPS, math.ceil(_INPUT_SECONDS / seconds))
    constant = constant_batch(step.gan, step.d_steps, step.batch_size)
    per_step = {WITH_DATA: [], WITHOUT_DATA: []}
    for sample in range(2 * samples):
        # With, without, without, with: neither is always the later one.
        name = WITH_DATA if sample % 4 in (0, 3) else WITHOUT_DATA
        batches = itertools.repeat(constant)
        if name == WITH_DATA:
            batches = iter(dataset.steps(step.d_steps))
        # The first step waits for files to be opened, as a run does once.
        step.gan.train_steps([next(batches)])
        wait()
        started = time.perf_counter()
        for _ in range(count):
            step.gan.train_steps([next(batches)])
        wait()
        per_step[name].append((time.perf_counter() - started) / count)
        del batches
    return {name: summarise(values) for name, values in per_step.items()}
