"""Measures the step of a config, and its forms against each other."""

import dataclasses
import itertools
import math
import pathlib
import time

import gin
from absl import logging

from sagan.config import config_batch_size, parse_config, train_settings
from sagan.data import make_dataset
from sagan.profiling.figures import draw_step
from sagan.profiling.flops import flops_by_part
from sagan.profiling.memory import peak_growth
from sagan.profiling.op_times import PartSeconds, seconds_by_part
from sagan.profiling.pointwise import write_table
from sagan.profiling.rates import Ceilings, ceiling_calls, ceilings_of
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


# A sample of steps with data lasts so long at least, and so many steps, that
# what the input had ready before is a small part of it.
_INPUT_SECONDS = 5.0
_FEWEST_INPUT_STEPS = 5
CONVOLUTIONS = "3x3 convolutions"


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        steps: By form: `REWRITTEN` and what it is compared with, or `CONFIG`.
        timings: By form and call, seconds; of the first form also a step
            `WITH_DATA` and one `WITHOUT_DATA`, if asked for.
        seconds: By form, of a step by part, added up over threads.
        peaks: By form and call, bytes held beyond weights and batch.
        ceilings: Of the machine, in the activations' dtype.
        machine: Its name.
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
        config_files: As of `sagan.config.parse_config`.
        bindings: Override them.
        batch_size: Images an update; None for the config's.
        compare: What the form with all `REWRITES` is measured in turn with:
            `PLAIN`, which has none, or the form without the one of this name.
            None measures the form of the config alone.
        data: Whether steps are also timed with the config's images.
        data_dir: Where TFDS data sets are.
        samples: Of each timing.
    """
    parse_config(config_files, bindings)
    if batch_size is None:
        batch_size = config_batch_size()
    # First, so that data that is not there costs no benchmark.
    dataset = _dataset(data_dir, batch_size) if data else None
    steps = {}
    for form, rewrites in _forms(compare).items():
        if rewrites is not None:
            bind_rewrites(rewrites)
        steps[form] = make_step(batch_size)
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
    limits = {
        (_CEILING, name): call
        for name, call in ceiling_calls(
            steps[first].gan.generator.compute_dtype
        ).items()
    }
    # In turn with what they limit: on a shared machine both change.
    timings = time_in_turn(calls | limits, samples)
    ceilings = {name: timings.pop((_CEILING, name)) for _, name in limits}
    if dataset:
        seconds = timings[first, "step"].median
        for name, timing in _time_input(
            steps[first], dataset, seconds, samples
        ).items():
            timings[first, name] = timing
    return Report(
        steps,
        timings,
        {f: seconds_by_part(step.calls["step"]) for f, step in steps.items()},
        {key: peak_growth(call) for key, call in calls.items()},
        ceilings_of({name: t.median for name, t in ceilings.items()}),
        describe_machine(),
    )


def _forms(compare):
    """Rewrites of each form to measure; None for the config's."""
    if compare is None:
        return {CONFIG: None}
    others = () if compare == PLAIN else set(REWRITES) - {compare}
    name = PLAIN if compare == PLAIN else f"without {compare}"
    return {REWRITTEN: tuple(REWRITES), name: others}


def _dataset(data_dir, batch_size):
    with gin.unlock_config():
        gin.bind_parameter("make_dataset.batch_size", batch_size)
    return make_dataset(data_dir=data_dir)


def _time_input(step, dataset, seconds, samples):
    """Times runs of steps on images and on a constant batch, in turn.

    The images of each run are read anew, and nothing is read during the other
    runs: so an input that is too slow shows as longer steps.
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


def work(report: Report, form: str, call: str) -> tuple[int, int]:
    """Returns images of a call's batches (real or fake), and its FLOPs."""
    step = report.steps[form]
    if call in step.costs:
        costs, updates = step.costs[call], 1
    else:
        costs, updates = step.step_costs, step.d_steps
    return updates * step.batch_size, sum(cost.flops for cost in costs)


def tensor_float_32() -> bool:
    """Returns whether the config lets a GPU round factors to TF32."""
    return train_settings()["tensor_float_32"]


def rows(report: Report) -> list[dict[str, object]]:
    """Returns one row for each form and call, of one set of columns."""
    table = []
    for (form, name), timing in report.timings.items():
        step = report.steps[form]
        images, flops = work(report, form, name)
        rate = flops / timing.median
        table.append(
            {
                "machine": report.machine,
                "precision": step.gan.generator.dtype_policy.name,
                "tf32": tensor_float_32(),
                "jit_compile": step.gan.jit_compile,
                "accumulation": step.gan.accumulation,
                "batch_size": step.batch_size,
                "d_steps": step.d_steps,
                "form": form,
                "call": name,
                **dataclasses.asdict(timing),
                "images_per_second": images / timing.median,
                "gflop": flops / 1e9,
                "gflops": rate / 1e9,
                "share_of_conv": rate / report.ceilings.conv,
                **{
                    f"{ceiling}_ceiling": value / 1e9
                    for ceiling, value in vars(report.ceilings).items()
                },
                "peak_bytes": report.peaks.get((form, name)),
                "trace_seconds": step.trace_seconds,
                "compile_seconds": _compile_seconds(report, form),
                "first_step_seconds": step.first_step_seconds,
            }
        )
    return table


def part_rows(report: Report) -> list[dict[str, object]]:
    """Returns one row for each form and part of a step.

    Operations overlap, so their seconds may add up to more than a step's: then
    those of the step are shared out among the parts in proportion. What is
    left of a step that they do not fill is in no part.
    """
    table = []
    for form, parts in report.seconds.items():
        flops = flops_by_part(report.steps[form].step_costs)
        step = report.timings[form, "step"].median
        total = sum(part.total for part in parts.values())
        scale = min(1.0, step / total) if total else 1.0
        for name, part in parts.items():
            products = part.products * scale
            rate = flops.get(name, 0) / products if products else 0.0
            table.append(
                {
                    "form": form,
                    "part": name,
                    "seconds": part.total * scale,
                    "share": part.total * scale / step,
                    "product_share": products / step,
                    "gflop": flops.get(name, 0) / 1e9,
                    "gflops": rate / 1e9,
                    "share_of_conv": rate / report.ceilings.conv,
                }
            )
    return table


def lines(report: Report) -> list[str]:
    """Returns the report as lines of text.

    The last is the comparison of the two forms, if there are two.
    """
    ceilings = report.ceilings
    text = [
        f"{report.machine}: GFLOP/s of convolution {ceilings.conv / 1e9:.0f} "
        f"(gradients: inputs {ceilings.input_gradient / 1e9:.0f}, kernel "
        f"{ceilings.filter_gradient / 1e9:.0f}), matrix product "
        f"{ceilings.gemm / 1e9:.0f}; copy {ceilings.copy / 1e9:.0f} GB/s",
        f"{'seconds of a':16}{'median':>9} {'quartiles':>18}{'images/s':>10}"
        f"{'GFLOP':>9}{'GFLOP/s':>9}{'of conv':>9}{'holds':>10}",
    ]
    table = rows(report)
    for form in report.steps:
        mine = [row for row in table if row["form"] == form]
        text.append(f"{form}: {_first_step(mine[0])}")
        text += map(_call_line, mine)
    return text + _part_lines(report) + _input_lines(report) + _verdict(report)


def _first_step(row):
    return (
        f"traced in {row['trace_seconds']:.1f} s, compiled in "
        f"{row['compile_seconds']:.1f} s, first step after "
        f"{row['first_step_seconds']:.1f} s"
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


def _part_lines(report):
    """A line for each part of a step, and what the products are of it."""
    table, text = part_rows(report), []
    for form in report.seconds:
        mine = {row["part"]: row for row in table if row["form"] == form}
        if CONVOLUTIONS not in mine:
            text.append(f"{form}: its operations cannot be told apart (XLA)")
            continue
        text.append(f"{form}: a step by part: seconds, share, GFLOP/s")
        for part, row in mine.items():
            rate = f"{row['gflops']:9.0f}" if row["gflops"] >= 1 else ""
            text.append(
                f"  {part:22}{row['seconds']:8.4f} s{row['share']:8.1%}{rate}"
            )
        products = sum(row["product_share"] for row in mine.values())
        text.append(
            f"  3x3 convolutions at {mine[CONVOLUTIONS]['share_of_conv']:.0%} "
            f"of the ceiling; outside convolutions and products "
            f"{1 - products:.0%}"
        )
    return text


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
    """The ratio of the two forms, if there are two."""
    others = [form for form in report.steps if form != REWRITTEN]
    if REWRITTEN not in report.steps:
        return []
    other, rewritten = (
        report.timings[form, "step"] for form in (*others, REWRITTEN)
    )
    ratio = f"{other.median / rewritten.median:.2f}"
    if others == [PLAIN]:
        name = "speedup over plain"
    else:
        name = f"speedup over the form {others[0]}"
    tie = ["The quartiles of the two steps overlap: a tie."]
    return (tie if other.overlaps(rewritten) else []) + [f"{name}: {ratio}"]


def _compile_seconds(report, form):
    """Seconds from the traced graphs to the first result, less one step."""
    step = report.steps[form]
    return max(0.0, step.run_seconds - report.timings[form, "step"].median)


def write(path, report: Report, title: str) -> None:
    """Writes the rows as CSV, and beside it the parts and the picture."""
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
