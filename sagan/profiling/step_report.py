"""The measurements of a step as rows of a table and as lines of text."""

import dataclasses
import math
import pathlib

from sagan.config import train_settings
from sagan.profiling.figures import draw_step
from sagan.profiling.flops import flops_by_part
from sagan.profiling.step_benchmark import (
    CONFIG,
    PLAIN,
    REWRITTEN,
    WITH_DATA,
    WITHOUT_DATA,
    Report,
)
from sagan.profiling.tables import write_table

CONVOLUTIONS = "3x3 convolutions"


def rows(report: Report) -> list[dict[str, object]]:
    """Returns one row for each form and call, all with the same columns."""
    ceilings = {
        f"{name}_ceiling": value / 1e9
        for name, value in vars(report.ceilings).items()
    }
    table = []
    for (form, call), timing in report.timings.items():
        step = report.steps[form]
        images, flops = step.work(call)
        rate = flops / timing.median
        first = step.run_seconds - report.timings[form, "step"].median
        table.append(
            {
                "machine": report.machine,
                "precision": step.gan.generator.dtype_policy.name,
                "tf32": train_settings()["tensor_float_32"],
                "jit_compile": step.gan.jit_compile,
                "accumulation": step.gan.accumulation,
                "batch_size": step.batch_size,
                "d_steps": step.d_steps,
                "form": form,
                "call": call,
                **dataclasses.asdict(timing),
                "images_per_second": images / timing.median,
                "gflop": flops / 1e9,
                "gflops": rate / 1e9,
                "share_of_conv": rate / report.ceilings.conv,
                **ceilings,
                "peak_bytes": report.peaks.get((form, call)),
                "trace_seconds": step.trace_seconds,
                "compile_seconds": max(0.0, first),
                "first_step_seconds": step.first_step_seconds,
            }
        )
    return table


def part_rows(report: Report) -> list[dict[str, object]]:
    """Returns one row for each form and part of a step.

    Operations overlap, so their seconds may add up to more than a step's, and a
    rate is that of an operation while others run. Shares are of all of them, or
    of the step if they do not fill it.
    """
    table = []
    for form, parts in report.seconds.items():
        flops = flops_by_part(report.steps[form].costs)
        total = sum(part.total for part in parts.values())
        whole = max(total, report.timings[form, "step"].median)
        for name, part in parts.items():
            work = flops.get(name, 0)
            rate = work / part.products if part.products else 0.0
            table.append(
                {
                    "form": form,
                    "part": name,
                    "operation_seconds": part.total,
                    "share": part.total / whole,
                    "product_share": part.products / whole,
                    "gflop": work / 1e9,
                    "gflops": rate / 1e9,
                }
            )
    return table


def lines(report: Report) -> list[str]:
    """Returns the report as lines of text.

    The last one is the comparison of the two forms, if there are two.
    """
    peak = report.ceilings
    text = [
        f"{report.machine}: GFLOP/s of convolution {peak.conv / 1e9:.0f} "
        f"(gradients: inputs {peak.input_gradient / 1e9:.0f}, kernel "
        f"{peak.filter_gradient / 1e9:.0f}), matrix product "
        f"{peak.gemm / 1e9:.0f}; copy {peak.copy / 1e9:.0f} GB/s",
        f"{'seconds of a':16}{'median':>9} {'quartiles':>18}{'images/s':>10}"
        f"{'GFLOP':>9}{'GFLOP/s':>9}{'of conv':>9}{'holds':>10}",
    ]
    table, parts = rows(report), part_rows(report)
    for form in report.steps:
        mine = [row for row in table if row["form"] == form]
        text.append(
            f"{form}: traced in {mine[0]['trace_seconds']:.1f} s, compiled in "
            f"{mine[0]['compile_seconds']:.1f} s, first step after "
            f"{mine[0]['first_step_seconds']:.1f} s"
        )
        text += map(_call_line, mine)
    for form in report.seconds:
        text += _part_lines(form, [row for row in parts if row["form"] == form])
    text += [_peer_line(form, report) for form in report.steps]
    return text + _input_lines(report) + _verdict(report)


def _peer_line(form, report):
    """Returns what another implementation has to report to be compared."""
    step = report.steps[form]
    generator, discriminator = (
        sum(
            math.prod(variable.shape)
            for variable in network.trainable_variables
        )
        for network in (step.gan.generator, step.gan.discriminator)
    )
    return (
        f"{form}: {report.timings[form, 'step'].median:.3f} seconds a step, "
        f"batch {step.batch_size}, {step.d_steps} D + 1 G, "
        f"{step.gan.generator.compute_dtype}, parameters G {generator:,} "
        f"D {discriminator:,}"
    )


def _call_line(row):
    quartiles = f"{row['lower']:.4f} - {row['upper']:.4f}"
    peak = row["peak_bytes"]
    held = "" if peak is None else f"{peak / 1e6:,.0f} MB"
    return (
        f"  {row['call']:14}{row['median']:9.4f} {quartiles:>18}"
        f"{row['images_per_second']:10.1f}{row['gflop']:9.2f}"
        f"{row['gflops']:9.1f}{row['share_of_conv']:9.0%}{held:>10}"
    )


def _part_lines(form, parts):
    """Returns a line for each part of a step, and what are not products."""
    if CONVOLUTIONS not in [row["part"] for row in parts]:
        return [f"{form}: its operations cannot be told apart (XLA)"]
    text = [
        f"{form}: operations of a step, which overlap:",
        f"  {'part':22}{'seconds':>8}{'share':>8}{'rest':>8}{'GFLOP/s':>9}",
    ]
    rest = 0.0
    for row in parts:
        other = row["share"] - row["product_share"]
        rest += other
        rate = f"{row['gflops']:9.0f}" if row["gflops"] >= 1 else ""
        text.append(
            f"  {row['part']:22}{row['operation_seconds']:8.4f}"
            f"{row['share']:8.1%}{other:8.1%}{rate}"
        )
    return [
        *text,
        f"  neither convolution nor matrix product (rest): {rest:.0%}",
    ]


def _input_lines(report):
    timings = {call: timing for (_, call), timing in report.timings.items()}
    if WITH_DATA not in timings:
        return []
    with_data, without = timings[WITH_DATA], timings[WITHOUT_DATA]
    ratio = without.median / with_data.median
    return [
        f"throughput with data: {ratio:.1%} of that with a constant batch"
        + (" (a tie)" if with_data.overlaps(without) else "")
    ]


def _verdict(report):
    """Returns the ratio of the two forms, if there are two."""
    if len(report.steps) == 1:
        return []
    if CONFIG in report.steps:
        return _cost(report)
    (other,) = report.steps.keys() - {REWRITTEN}
    name = other if other == PLAIN else f"the form {other}"
    before, after = (
        report.timings[form, "step"] for form in (other, REWRITTEN)
    )
    ratio = f"speedup over {name}: {before.median / after.median:.2f}"
    tie = ["The quartiles of the two steps overlap: a tie."]
    return [*(tie if before.overlaps(after) else []), ratio]


def _cost(report):
    """Returns what a binding costs, relative to the config without it."""
    (form,) = report.steps.keys() - {CONFIG}
    before, after = (report.timings[f, "step"] for f in (CONFIG, form))
    held = [report.peaks[f, "step"] for f in (CONFIG, form)]
    memory = f", memory {held[1] / held[0]:.2f}" if all(held) else ""
    return [
        f"{form}: seconds {after.median / before.median:.2f} "
        f"({after.lower / before.upper:.2f} to "
        f"{after.upper / before.lower:.2f} by quartiles){memory}"
    ]


def write(path, report: Report, title: str) -> None:
    """Writes the rows as CSV, and beside it the parts and the figure."""
    path = pathlib.Path(path)
    write_table(path, rows(report))
    if parts := part_rows(report):
        write_table(path.with_name(f"{path.stem}_parts.csv"), parts)
    draw_step(
        path.with_suffix(".png"),
        report.timings,
        report.seconds,
        f"{title} on {report.machine}",
    )
