"""Times the implementations of the 1x1 convolution against each other."""

import collections
import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import tensorflow as tf

from sagan.layers.numerics.deviations import compiled
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling.memory import peak_growth
from sagan.profiling.pointwise import Shape, with_gradients
from sagan.profiling.rates import measure_gemm_and_copy
from sagan.profiling.timing import time_in_turn, verdicts
from sagan.runs.machine import describe_machine

MODES = ("eager", "function", "jit")
PASSES = ("forward", "both")
DTYPES = ("float32", "bfloat16", "float16")


def benchmark(
    shapes: Iterable[Shape],
    dtypes: Sequence[str] = ("float32",),
    modes: Sequence[str] = ("function",),
    implementations: Sequence[str] = tuple(IMPLEMENTATIONS),
    samples: int = 15,
    budget: float = math.inf,
) -> Iterator[list[dict[str, object]]]:
    """Times implementations against each other.

    Args:
        shapes: Shapes of the convolutions.
        dtypes: Some of `DTYPES`.
        modes: Some of `MODES`: operation by operation, as a `tf.function`, or
            compiled by XLA.
        implementations: Keys of `IMPLEMENTATIONS`.
        samples: Samples of each timing.
        budget: Seconds a timing may take, as for `time_in_turn`.

    Yields:
        For each dtype, shape, mode and pass the rows of all implementations:
        dicts with seconds (`median`, `lower`, `upper`), `gflops` and `gbytes`
        a second, their shares of the machine's GEMM and copy ceilings (above 1
        where operands stay in a cache), `peak_bytes` and the `verdict` among
        the implementations.
    """
    device = describe_machine()
    tf32 = tf.config.experimental.tensor_float_32_execution_enabled()
    cases = list(itertools.product(shapes, modes, (False, True)))
    for dtype in dtypes:
        ceilings = measure_gemm_and_copy(dtype)
        for shape, mode, backward in cases:
            operands = _operands(shape, dtype)
            calls = {
                name: _make_call(name, operands, mode, backward)
                for name in implementations
            }
            timings = time_in_turn(calls, samples, budget=budget)
            verdict = verdicts(timings)
            case = {
                "device": device,
                "tf32": tf32,
                "shape": str(shape),
                "dtype": dtype,
                "mode": mode,
                "pass": PASSES[backward],
            }
            rates = functools.partial(_rates, shape, dtype, backward, ceilings)
            yield [
                {
                    **case,
                    "implementation": name,
                    **dataclasses.asdict(timing),
                    **rates(timing.median),
                    "peak_bytes": peak_growth(calls[name]),
                    "verdict": verdict[name],
                }
                for name, timing in timings.items()
            ]


def _operands(shape, dtype):
    leading = [shape.batch, shape.height, shape.width]
    sizes = (
        [*leading, shape.channels],
        [1, 1, shape.channels, shape.filters],
        [*leading, shape.filters],
    )
    return [
        tf.cast(tf.random.stateless_normal(size, [0, i]), dtype)
        for i, size in enumerate(sizes)
    ]


def _make_call(name, operands, mode, backward):
    function = with_gradients(IMPLEMENTATIONS[name])
    if not backward:

        def function(inputs, kernel, direction):
            del direction
            return IMPLEMENTATIONS[name](inputs, kernel)

    return functools.partial(compiled(function, mode, operands), *operands)


def _rates(shape, dtype, backward, ceilings, seconds):
    flops = shape.flops(backward) / seconds
    traffic = shape.bytes(tf.as_dtype(dtype).size, backward) / seconds
    return {
        "gflops": flops / 1e9,
        "gbytes": traffic / 1e9,
        "share_of_gemm": flops / ceilings["gemm"],
        "share_of_copy": traffic / ceilings["copy"],
        "gemm_ceiling": ceilings["gemm"] / 1e9,
        "copy_ceiling": ceilings["copy"] / 1e9,
    }


def tally(rows: Iterable[dict[str, object]]) -> list[str]:
    """Returns lines on how long each implementation took, and how it compares.

    That is at all shapes together, at worst relative to the fastest of a
    shape, and at how many shapes it was the fastest, tied or slower.
    """
    groups = collections.defaultdict(lambda: collections.defaultdict(dict))
    for row in rows:
        group = " ".join((row["dtype"], row["mode"], row["pass"]))
        groups[group][row["implementation"]][row["shape"]] = row
    lines = []
    for group, table in groups.items():
        best = {
            shape: min(mine[shape]["median"] for mine in table.values())
            for shape in next(iter(table.values()))
        }
        lines.append(group)
        for name, mine in table.items():
            count = collections.Counter(r["verdict"] for r in mine.values())
            total = sum(row["median"] for row in mine.values())
            worst = max(mine[shape]["median"] / best[shape] for shape in best)
            lines.append(
                f"  {name:16} {total:9.4f} s  at worst {worst:6.2f} times  "
                f"fastest {count['fastest']:3}  tie {count['tie']:3}  "
                f"slower {count['slower']:3}"
            )
    return lines
