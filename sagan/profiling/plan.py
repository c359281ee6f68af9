"""The report on a config, from its tables of layers to the days of its run."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import gin

from sagan.config import Count, config_batch_size, mismatch, train_settings
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling.flops import PARTS
from sagan.profiling.layer_table import LayerCost, layer_costs
from sagan.profiling.memory import Memory, fit_memory, peak_growth
from sagan.profiling.rates import (
    Rates,
    given_rates,
    heaviest_convolution,
    measure_rates,
)
from sagan.profiling.step import (
    Update,
    constant_batch,
    make_config_gan,
    step_peak,
    step_updates,
    trace_step,
)
from sagan.runs.machine import describe_machine

ASSUMPTIONS = """
Assumed: an operation computes or moves data, whichever is slower, and they run
one after another; XLA fuses none; batches are not cut into micro-batches;
images are there when needed. Left out: samples and checkpoints, and memory that
kernels use inside. Devices share each batch and, after each update's gradients,
add them up in a ring, which overlaps with nothing."""
_SECONDS_A_DAY = 86_400
_LAYER_LINE = "{:26}{:>12}{:>13}{:>11}{:>11}{:>7}"


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of `python -m sagan.summary`, checked.

    Attributes:
        gflops: GFLOP/s that a device reaches; None to measure this machine.
        bandwidth: GB/s of a device's memory; None likewise.
        memory: GB of a device, or None.
        devices: How many share each batch.
        allreduce: GB/s from a device to the next; None with one device.
        measure: Whether to run some steps and compare.

    Raises:
        ValueError: If a value is out of range or values do not go together.
    """

    gflops: float | None = None
    bandwidth: float | None = None
    memory: float | None = None
    devices: int = 1
    allreduce: float | None = None
    measure: bool = False

    @classmethod
    def names(cls) -> list[str]:
        """Returns the names of the flags."""
        return [field.name for field in dataclasses.fields(cls)]

    def __post_init__(self):
        for name in ("gflops", "bandwidth", "memory", "allreduce"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(
                    f"--{name} is {value:g}: expected a positive number."
                )
        if self.devices < 1:
            raise ValueError(
                f"--devices is {self.devices}: expected an integer of at "
                "least 1."
            )
        if (self.gflops is None) != (self.bandwidth is None):
            raise ValueError(
                "--gflops and --bandwidth describe one device: give both, or "
                "neither to measure this machine."
            )
        if (self.devices > 1) != (self.allreduce is not None):
            raise ValueError(
                "--allreduce is the GB/s between devices: it is needed with "
                f"--devices above 1, and only then; --devices is "
                f"{self.devices}."
            )
        if self.measure and (self.gflops is not None or self.devices > 1):
            raise ValueError(
                "--measure runs steps on this machine: leave out --gflops, "
                "--bandwidth and --devices."
            )


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
        yield from layer_table(name, *forms)
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
    yield from rates_lines(rates, device)
    yield f"A step on a batch of {batch_size}:"
    yield from step_lines(plan)
    yield from memory_lines(
        plan, 1e9 * options.memory if options.memory else None
    )
    yield from run_lines(plan)
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


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config says of the length of its run.

    Attributes:
        batch_size: Images a batch, over all devices.
        d_steps: Discriminator updates in a step.
        num_steps: Steps in all.
    """

    batch_size: int
    d_steps: int
    num_steps: int

    def batch_on_each(self, devices: int) -> int:
        """Returns the images a batch has on each of `devices`.

        Raises:
            ValueError: If the batch cannot be shared out evenly.
        """
        if self.batch_size % devices:
            raise ValueError(
                f"A batch of {self.batch_size} cannot be shared evenly by "
                f"--devices={devices}: expected a divisor of it, or bind "
                "another make_dataset.batch_size."
            )
        return self.batch_size // devices


def config_run() -> Run:
    """Returns the `Run` of the config that is parsed.

    Raises:
        ValueError: If a value is missing or no positive integer.
    """
    batch_size = config_batch_size()
    d_steps = train_settings()["d_steps"]
    num_steps = gin.get_bindings("train").get("num_steps")
    for name, value in (
        ("make_dataset.batch_size", batch_size),
        ("train.d_steps", d_steps),
        ("train.num_steps", num_steps),
    ):
        if expected := mismatch(value, Count):
            raise ValueError(f"{name} is {value!r}: expected {expected}.")
    return Run(batch_size, d_steps, num_steps)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of a run on some devices, each with an equal share of every batch.

    Attributes:
        run: The `Run`.
        updates: Of a step on one device's share of the batch.
        memory: Of one device.
        rates: Of one device.
        devices: How many.
        allreduce: Bytes/s at which a device sends, and at once receives.
    """

    run: Run
    updates: list[Update]
    memory: Memory
    rates: Rates
    devices: int = 1
    allreduce: float = math.inf

    @property
    def computing(self) -> float:
        """Seconds a step computes."""
        return sum(
            update.times * sum(map(self.rates.seconds, update.costs))
            for update in self.updates
        )

    @property
    def communicating(self) -> float:
        """Seconds a step adds up gradients, after each update's are done."""
        return sum(
            update.times
            * allreduce_seconds(
                update.gradient_bytes, self.devices, self.allreduce
            )
            for update in self.updates
        )

    @property
    def step(self) -> float:
        """Seconds a step takes."""
        return self.computing + self.communicating

    @property
    def days(self) -> float:
        """Days the run takes, without data, samples and checkpoints."""
        return self.run.num_steps * self.step / _SECONDS_A_DAY

    @property
    def device_hours(self) -> float:
        """Hours of all devices together."""
        return 24 * self.days * self.devices


def allreduce_seconds(size: int, devices: int, bandwidth: float) -> float:
    """Returns how long a ring of devices takes to add up its gradients.

    Each device sends `2 (devices - 1) / devices` times what it holds: once
    around to add up, and once around to share the sums.

    Args:
        size: Of one device's gradients, bytes.
        devices: How many.
        bandwidth: Bytes/s from one device to the next.
    """
    return 2 * (devices - 1) / devices * size / bandwidth


def layer_table(
    title: str, plain: list[LayerCost], rewritten: list[LayerCost]
) -> list[str]:
    """Returns the lines of one network's table.

    Args:
        title: Of the network.
        plain: Its layers with neither `fused_resampling` nor
            `low_resolution_shortcut`,
        rewritten: and with both, which activations are of.
    """
    others = {row.name: row for row in plain}
    lines = [
        f"{'million multiply-adds':>73}{'MB':>7}",
        _LAYER_LINE.format(
            f"{title}, one image",
            *("output", "parameters", "plain", "rewritten", "made"),
        ),
    ]
    lines += [
        _line(row.name, row.shape, [others[row.name]], [row])
        for row in rewritten
    ]
    pointwise = [
        [row for row in rows if row.is_pointwise] for rows in (plain, rewritten)
    ]
    lines.append(_line("total", (), plain, rewritten))
    lines.append(
        _LAYER_LINE.format(
            "held by 1x1 convolutions",
            "",
            _share(pointwise[1], rewritten, "parameters"),
            _share(pointwise[0], plain, "multiply_adds"),
            _share(pointwise[1], rewritten, "multiply_adds"),
            _share(pointwise[1], rewritten, "activation_bytes"),
        )
    )
    return lines


def rates_lines(rates: Rates, device: str) -> list[str]:
    """Returns what a device was taken to reach."""
    ceilings = rates.ceilings
    forward, to_inputs, to_kernel = (
        f"{rate / 1e9:,.0f}"
        for rate in (
            ceilings.conv,
            ceilings.input_gradient,
            ceilings.filter_gradient,
        )
    )
    return [
        f"Device: {device}",
        f"  GFLOP/s of convolutions: {forward}, gradients to inputs "
        f"{to_inputs}, to kernel {to_kernel}",
        f"  GFLOP/s of matrix products: {ceilings.gemm / 1e9:,.0f}",
        f"  Memory: {ceilings.copy / 1e9:,.1f} GB/s; to start an operation: "
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
    lines = [
        f"Run: {plan.run.num_steps:,} steps of {plan.run.d_steps} + 1 updates, "
        f"batch {plan.run.batch_size}, on {plan.devices} device"
        + ("s" if plan.devices > 1 else "")
    ]
    if plan.devices > 1:
        lines.append(
            f"  All-reduce: {plan.communicating:,.4f} s a step at "
            f"{plan.allreduce / 1e9:g} GB/s"
        )
    images = plan.run.d_steps * plan.run.batch_size
    return [
        *lines,
        f"  Predicted: {plan.step:,.4f} s a step, "
        f"{images / plan.step:,.1f} real images/s",
        f"  {plan.days:,.2f} days, {plan.device_hours:,.1f} device-hours",
    ]


def _line(name, shape, plain, rewritten):
    return _LAYER_LINE.format(
        name,
        "x".join(map(str, shape)),
        f"{sum(row.parameters for row in rewritten):,}",
        f"{sum(row.multiply_adds for row in plain) / 1e6:,.2f}",
        f"{sum(row.multiply_adds for row in rewritten) / 1e6:,.2f}",
        f"{sum(row.activation_bytes for row in rewritten) / 1e6:,.2f}",
    )


def _share(some, rows, attribute):
    part, whole = (
        sum(getattr(row, attribute) for row in group) for group in (some, rows)
    )
    return f"{part / whole:.1%}"
