"""Costs as text for a person to read."""

from sagan.benchmarks.graph_cost import PARTS
from sagan.costs.layers import LayerCost
from sagan.costs.plan import Plan
from sagan.costs.rates import Rates

_LAYER_LINE = "{:26}{:>12}{:>13}{:>11}{:>11}{:>7}"


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
