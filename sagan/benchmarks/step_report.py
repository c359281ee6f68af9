"""Measures the step of a config and says it in rows, lines and a picture."""

import dataclasses
import pathlib

import gin
from absl import logging

from sagan.benchmarks.ceilings import Ceilings, measure_ceilings
from sagan.benchmarks.config_values import config_batch_size, train_settings
from sagan.benchmarks.figures import draw_step
from sagan.benchmarks.graph_cost import flops_by_part
from sagan.benchmarks.memory import peak_growth
from sagan.benchmarks.profile import seconds_by_part
from sagan.benchmarks.step import Step, make_step
from sagan.benchmarks.tables import write_table
from sagan.benchmarks.timing import Timing, time_in_turn
from sagan.config import parse_config
from sagan.data import make_dataset
from sagan.machine import describe_machine

MERGED, PLAIN, CONFIG = "merged", "plain", "config"


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        steps: By form, `MERGED` and `PLAIN`, or `CONFIG`.
        timings: By form and call, seconds; "step with data" among them.
        seconds: By form, of a step by part, added up over threads.
        peaks: By form, bytes that a step holds beyond weights and batch.
        ceilings: Of the machine, in the activations' dtype.
        machine: Its name.
    """

    steps: dict[str, Step]
    timings: dict[tuple[str, str], Timing]
    seconds: dict[str, dict[str, float]]
    peaks: dict[str, int | None]
    ceilings: Ceilings
    machine: str


def measure(
    config_files, bindings, batch_size, plain, data, data_dir, samples
) -> Report:
    """Builds and times the step of a config.

    Args:
        config_files: As of `sagan.config.parse_config`.
        bindings: Override them.
        batch_size: Images an update; None for the config's.
        plain: Whether the plain form is measured in turn with the merged
            one; if not, the form is that of the config.
        data: Whether the step is also timed with the config's images, besides
            a constant batch.
        data_dir: Where TFDS data sets are.
        samples: Of each timing.
    """
    parse_config(config_files, bindings)
    if batch_size is None:
        batch_size = config_batch_size()
    if data:
        with gin.unlock_config():
            gin.bind_parameter("make_dataset.batch_size", batch_size)
        d_steps = train_settings()["d_steps"]
        batches = iter(make_dataset(data_dir=data_dir).batches().batch(d_steps))
    forms = {MERGED: True, PLAIN: False} if plain else {CONFIG: None}
    steps = {}
    for form, fused_resampling in forms.items():
        steps[form] = make_step(batch_size, fused_resampling)
        logging.info(
            "%s: first step after %.1f s.",
            form,
            steps[form].first_step_seconds,
        )
    calls = {
        (form, name): call
        for form, step in steps.items()
        for name, call in step.calls.items()
    }
    first = next(iter(steps))
    if data:
        train_steps = steps[first].gan.train_steps
        calls[first, "step with data"] = lambda: train_steps([next(batches)])
    whole = {form: step.calls["step"] for form, step in steps.items()}
    return Report(
        steps,
        time_in_turn(calls, samples),
        {form: seconds_by_part(call) for form, call in whole.items()},
        {form: peak_growth(call) for form, call in whole.items()},
        measure_ceilings(steps[first].gan.generator.compute_dtype),
        describe_machine(),
    )


def rows(report: Report) -> list[dict[str, object]]:
    """Returns one row for each form and call, of one set of columns."""
    table = []
    for (form, name), timing in report.timings.items():
        step = report.steps[form]
        images, flops = _work(step, name)
        rate = flops / timing.median
        table.append(
            {
                "machine": report.machine,
                "precision": step.gan.generator.dtype_policy.name,
                "tf32": train_settings()["tensor_float_32"],
                "batch_size": step.batch_size,
                "d_steps": step.d_steps,
                "form": form,
                "call": name,
                **dataclasses.asdict(timing),
                "images_per_second": images / timing.median,
                "gflop": flops / 1e9,
                "gflops": rate / 1e9,
                "share_of_conv": rate / report.ceilings.conv,
                "gemm_ceiling": report.ceilings.gemm / 1e9,
                "conv_ceiling": report.ceilings.conv / 1e9,
                "copy_ceiling": report.ceilings.copy / 1e9,
                "peak_bytes": report.peaks[form],
                "trace_seconds": step.trace_seconds,
                "first_step_seconds": step.first_step_seconds,
            }
        )
    return table


def _work(step, name):
    """Images of a call's batches (real or fake), and FLOPs that it makes."""
    if name in step.costs:
        costs = step.costs[name]
        return step.batch_size, sum(cost.flops for cost in costs)
    costs = step.step_costs
    images = step.d_steps * step.batch_size
    return images, sum(cost.flops for cost in costs)


def lines(report: Report) -> list[str]:
    """Returns the report as lines of text.

    The last is the comparison of the two forms, if there are two.
    """
    ceilings = report.ceilings
    text = [
        f"{report.machine}: convolution {ceilings.conv / 1e9:.0f}, matrix "
        f"product {ceilings.gemm / 1e9:.0f} GFLOP/s; copy "
        f"{ceilings.copy / 1e9:.0f} GB/s",
        f"{'form':8}{'call':16}{'seconds':>9} {'quartiles':>18}"
        f"{'images/s':>10}{'GFLOP':>9}{'GFLOP/s':>9}{'of conv':>9}",
    ]
    for row in rows(report):
        quartiles = f"{row['lower']:.4f} - {row['upper']:.4f}"
        text.append(
            f"{row['form']:8}{row['call']:16}{row['median']:9.4f} "
            f"{quartiles:>18}{row['images_per_second']:10.1f}"
            f"{row['gflop']:9.2f}{row['gflops']:9.1f}"
            f"{row['share_of_conv']:9.0%}"
        )
    for form, step in report.steps.items():
        peak = report.peaks[form]
        held = "unknown" if peak is None else f"{peak / 1e9:.2f} GB"
        text.append(
            f"{form}: traced in {step.trace_seconds:.1f} s, first step after "
            f"{step.first_step_seconds:.1f} s, a step holds {held}"
        )
    text += _parts(report)
    if PLAIN in report.steps:
        plain, merged = (
            report.timings[form, "step"] for form in (PLAIN, MERGED)
        )
        if plain.overlaps(merged):
            text.append("The quartiles of the two steps overlap: a tie.")
        ratio = plain.median / merged.median
        text.append(f"speedup over plain: {ratio:.2f}")
    return text


def _parts(report):
    """A line for each part of a step: share of the time, rate reached."""
    text = ["time of operations by part, share of all, GFLOP/s"]
    for form, seconds in report.seconds.items():
        flops = flops_by_part(report.steps[form].step_costs)
        total = sum(seconds.values())
        for part, value in seconds.items():
            rate = flops.get(part, 0) / value / 1e9
            text.append(
                f"{form:8}{part:22}{value:8.4f} s{value / total:8.1%}"
                + (f"{rate:9.0f}" if rate >= 1 else "")
            )
    return text


def write(path, report: Report, title: str) -> None:
    """Writes the rows as CSV and, beside it, the picture."""
    path = pathlib.Path(path)
    write_table(path, rows(report))
    draw_step(
        path.with_suffix(".png"),
        report.timings,
        report.seconds,
        f"{title} on {report.machine}",
    )
