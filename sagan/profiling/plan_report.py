"""The report on a config, from its tables of layers to the days of its run."""

import functools
import math
from collections.abc import Iterator

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling.flops import PARTS
from sagan.profiling.layer_table import layer_costs, layer_table
from sagan.profiling.memory import fit_memory, peak_growth
from sagan.profiling.plan import Options, Plan, config_run
from sagan.profiling.rates import (
    Rates,
    given_rates,
    heaviest_convolution,
    measure_rates,
)
from sagan.profiling.step import (
    constant_batch,
    make_config_gan,
    step_peak,
    step_updates,
    trace_updates,
)
from sagan.runs.machine import describe_machine

ASSUMPTIONS = """
Assumed: an operation computes or moves data, whichever is slower, and they run
one after another; XLA fuses none; batches are not cut into micro-batches;
images are there when needed. Left out: samples and checkpoints, and memory that
kernels use inside. Devices share each batch and, after each update's gradients,
add them up in a ring, which overlaps with nothing."""


def report(options: Options) -> Iterator[str]:
    """Makes the lines of the report on the parsed config.

    Raises:
        ValueError: If the config lacks a value, or devices cannot share the
            batch evenly.
    """
    run = config_run()
    batch_size = run.batch_on_each(options.devices)
    for name, build in (
        ("generator", build_generator),
        ("discriminator", build_discriminator),
    ):
        forms = [
            layer_costs(
                build(
                    fused_resampling=rewritten,
                    low_resolution_shortcut=rewritten,
                    fused_fgh=False,
                )
            )
            for rewritten in (False, True)
        ]
        yield from layer_table(name, *forms)
        yield ""
    gan = make_config_gan(accumulation=1)
    functions = trace_updates(gan, batch_size)
    peaks = {
        batch_size: step_peak(functions),
        2 * batch_size: step_peak(trace_updates(gan, 2 * batch_size)),
    }
    batch = constant_batch(gan, run.d_steps, batch_size)
    step = functools.partial(gan.train_step, *batch)
    device, rates, seconds = _device(options, functions, step)
    plan = Plan(
        run,
        step_updates(gan, functions, run.d_steps),
        fit_memory(gan, peaks),
        rates,
        options.devices,
        1e9 * options.allreduce if options.allreduce else math.inf,
    )
    yield from rates_lines(rates, device)
    yield f"A step on a batch of {batch_size}:"
    yield from step_lines(plan)
    yield from memory_lines(
        plan, 1e9 * options.memory if options.memory else None
    )
    yield from run_lines(plan)
    if options.measure:
        yield from _measured_lines(plan, seconds, peak_growth(step))
    yield from ASSUMPTIONS.splitlines()


def _device(options, functions, step):
    """Returns the device in words, its rates, and the seconds of a step.

    The seconds are None if they are not to be measured.
    """
    if options.gflops:
        rates = given_rates(1e9 * options.gflops, 1e9 * options.bandwidth)
        return "as given", rates, None
    shape = heaviest_convolution(functions)
    rates, seconds = measure_rates(
        shape, step=step if options.measure else None
    )
    device = f"{describe_machine()}, measured in {shape.dtype} with {shape}"
    return device, rates, seconds


def _measured_lines(plan, seconds, growth):
    """Returns how the prediction compares with steps that were run."""
    line = "  Measured: {}; predicted / measured {:.2f}"
    lines = [line.format(f"{seconds:,.4f} s a step", plan.step / seconds)]
    if growth is not None:
        growth += plan.memory.weights + plan.memory.optimizer
        ratio = plan.memory.total(plan.run.batch_size) / growth
        lines.append(line.format(f"{growth / 1e9:,.2f} GB", ratio))
    return lines


def rates_lines(rates: Rates, device: str) -> list[str]:
    """Returns what a device was taken to reach."""
    peak = rates.ceilings
    return [
        f"Device: {device}",
        f"  GFLOP/s of convolutions: {peak.conv / 1e9:,.0f}, gradients to "
        f"inputs {peak.input_gradient / 1e9:,.0f}, to kernel "
        f"{peak.filter_gradient / 1e9:,.0f}",
        f"  GFLOP/s of matrix products: {peak.gemm / 1e9:,.0f}",
        f"  Memory: {peak.copy / 1e9:,.1f} GB/s; to start an operation: "
        f"{1e6 * rates.start:.1f} us",
    ]


def step_lines(plan: Plan) -> list[str]:
    """Returns the work and the seconds of a step, by update and by part."""
    line = "  {:24}{:>7}{:>14}{:>10}{:>12}"
    lines = [line.format("", "times", "GFLOP", "GB", "seconds")]
    parts = dict.fromkeys(PARTS, 0.0)
    for update in plan.updates:
        seconds = plan.rates.seconds_by_part(update.costs)
        for part in seconds:
            parts[part] += update.times * seconds[part]
        lines.append(
            line.format(
                update.name,
                update.times,
                f"{update.flops / 1e9:,.1f}",
                f"{update.bytes / 1e9:,.2f}",
                f"{sum(seconds.values()):,.4f}",
            )
        )
    lines.append(f"  Seconds computing: {plan.computing:,.4f}, of which")
    lines += [
        f"    {part:22}{seconds / plan.computing:6.1%}"
        for part, seconds in sorted(parts.items(), key=lambda item: -item[1])
        if seconds > 0.005 * plan.computing
    ]
    return lines


def memory_lines(plan: Plan, limit: float | None) -> list[str]:
    """Returns the memory of one device; `limit` is what it has, in bytes."""
    memory = plan.memory
    batch_size = plan.run.batch_on_each(plan.devices)
    varying = memory.fixed + memory.per_image * batch_size
    lines = [
        f"Memory a device: {memory.total(batch_size) / 1e9:,.2f} GB for a "
        f"batch of {batch_size}",
        f"  weights and moving average {memory.weights / 1e9:,.3f} GB, "
        f"optimisers {memory.optimizer / 1e9:,.3f} GB",
        f"  activations and gradients {varying / 1e9:,.3f} GB, "
        f"{memory.per_image / 1e6:,.2f} MB for each further image",
    ]
    if limit is not None:
        largest = memory.largest_batch(limit)
        lines.append(
            f"  Largest batch in {limit / 1e9:g} GB: {largest} a device"
            + ("" if largest else "; not even one image fits")
        )
    return lines


def run_lines(plan: Plan) -> list[str]:
    """Returns how long the run takes."""
    run = plan.run
    lines = [
        f"Run: {run.num_steps:,} steps of {run.d_steps} + 1 updates, "
        f"batch {run.batch_size}, on {plan.devices} device"
        + ("s" if plan.devices > 1 else "")
    ]
    if plan.devices > 1:
        lines.append(
            f"  All-reduce: {plan.communicating:,.4f} s a step at "
            f"{plan.allreduce / 1e9:g} GB/s"
        )
    images = run.d_steps * run.batch_size
    return [
        *lines,
        f"  Predicted: {plan.step:,.4f} s a step, "
        f"{images / plan.step:,.1f} real images/s",
        f"  {plan.days:,.2f} days, {plan.device_hours:,.1f} device-hours",
    ]
