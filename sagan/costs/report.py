"""The report on a config, from its tables of layers to the days of its run."""

import functools
from collections.abc import Iterator

from sagan.benchmarks.memory import peak_growth
from sagan.benchmarks.step import constant_batch, make_config_gan
from sagan.builders import build_discriminator, build_generator
from sagan.costs import text
from sagan.costs.layers import layer_costs
from sagan.costs.memory import fit_memory
from sagan.costs.options import Options
from sagan.costs.plan import Plan, config_run
from sagan.costs.rates import (
    given_rates,
    heaviest_convolution,
    measure_rates,
)
from sagan.costs.step import step_peak, step_updates, trace_step
from sagan.machine import describe_machine

ASSUMPTIONS = """
Assumed: an operation computes or moves data, whichever is slower, and they run
one after another; XLA fuses none; batches are not cut into micro-batches;
images are there when needed. Left out: samples and checkpoints, and memory that
kernels use inside. Devices share each batch and, after each update's gradients,
add them up in a ring, which overlaps with nothing."""


def report(options: Options) -> Iterator[str]:
    """Makes the lines of the report on the config that is parsed.

    Raises:
        ValueError: If the config lacks a value, or the batch cannot be shared.
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
        yield from text.layer_table(name, *forms)
        yield ""
    gan = make_config_gan(accumulation=1)
    functions = trace_step(gan, batch_size)
    peaks = {
        batch_size: step_peak(functions),
        2 * batch_size: step_peak(trace_step(gan, 2 * batch_size)[:2]),
    }
    device, rates, seconds = _device(options, gan, functions, run)
    plan = Plan(
        run,
        step_updates(gan, functions, run.d_steps),
        fit_memory(gan, peaks),
        rates,
        options.devices,
        1e9 * options.allreduce if options.allreduce else float("inf"),
    )
    yield from text.rates_lines(rates, device)
    yield f"A step on a batch of {batch_size}:"
    yield from text.step_lines(plan)
    yield from text.memory_lines(
        plan, 1e9 * options.memory if options.memory else None
    )
    yield from text.run_lines(plan)
    if options.measure:
        yield from _measured_lines(plan, seconds, gan)
    yield from ASSUMPTIONS.splitlines()


def _device(options, gan, functions, run):
    """Returns the device in words, its rates, and the seconds of a step.

    The seconds are None if they are not to be measured.
    """
    if options.gflops:
        rates = given_rates(1e9 * options.gflops, 1e9 * options.bandwidth)
        return "as given", rates, None
    dtype = gan.generator.compute_dtype
    shape = heaviest_convolution(functions)
    rates, seconds = measure_rates(
        dtype, shape, step=_step(gan, run) if options.measure else None
    )
    device = f"{describe_machine()}, measured in {dtype} with {shape}"
    return device, rates, seconds


def _step(gan, run):
    batch = constant_batch(gan, run.d_steps, run.batch_size)
    return functools.partial(gan.train_step, *batch)


def _measured_lines(plan, seconds, gan):
    growth = peak_growth(_step(gan, plan.run))
    memory = plan.memory.total(plan.run.batch_size)
    resident = plan.memory.weights + plan.memory.optimizer
    yield (
        f"  Measured: {seconds:,.4f} s a step; predicted / measured "
        f"{plan.step / seconds:.2f}"
    )
    if growth is not None:
        growth += resident
        yield (
            f"  Measured: {growth / 1e9:,.2f} GB; predicted / measured "
            f"{memory / growth:.2f}"
        )
