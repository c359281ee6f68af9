"""How fast each implementation of the 1x1 convolution is."""

import collections
import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence

import tensorflow as tf

from sagan.benchmarks.ceilings import measure_ceilings
from sagan.benchmarks.memory import peak_growth
from sagan.benchmarks.shapes import Shape
from sagan.benchmarks.timing import time_in_turn, verdicts
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.machine import describe_machine

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
        shapes: Of the convolutions.
        dtypes: Of `DTYPES`.
        modes: Of `MODES`: operation by operation, as a `tf.function`, or
            compiled by XLA.
        implementations: Keys of `IMPLEMENTATIONS`.
        samples: Of each timing.
        budget: Seconds a timing may take, as in `time_in_turn`.

    Yields:
        For each shape, dtype, mode and pass the rows of all implementations:
        dicts with seconds (`median`, `lower`, `upper`), `gflops` and `gbytes`
        a second, their shares of the machine's GEMM and copy ceilings (above
        1 where operands stay in a cache),
        `peak_bytes` and the `verdict` among the implementations.
    """
    shapes = list(shapes)
    device = describe_machine()
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    tensor_float_32 = enabled()
    for dtype in dtypes:
        ceilings = measure_ceilings(dtype)
        for shape in shapes:
            for mode in modes:
                for backward in (False, True):
                    calls = {
                        name: _make_call(name, shape, dtype, mode, backward)
                        for name in implementations
                    }
                    timings = time_in_turn(calls, samples, budget=budget)
                    verdict = verdicts(timings)
                    yield [
                        {
                            "device": device,
                            "tf32": tensor_float_32,
                            "shape": str(shape),
                            "dtype": dtype,
                            "mode": mode,
                            "pass": PASSES[backward],
                            "implementation": name,
                            **dataclasses.asdict(timing),
                            **_rates(
                                shape, dtype, backward, timing.median, ceilings
                            ),
                            "peak_bytes": peak_growth(calls[name]),
                            "verdict": verdict[name],
                        }
                        for name, timing in timings.items()
                    ]


def _make_call(name, shape, dtype, mode, backward):
    implementation = IMPLEMENTATIONS[name]

    def forward(inputs, kernel, direction):
        del direction
        return implementation(inputs, kernel)

    def both(inputs, kernel, direction):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = implementation(inputs, kernel)
        return outputs, *tape.gradient(outputs, (inputs, kernel), direction)

    function = both if backward else forward
    operands = _operands(shape, dtype)
    if mode != "eager":
        traced = tf.function(function, jit_compile=mode == "jit")
        function = traced.get_concrete_function(*operands)
    return functools.partial(function, *operands)


@functools.lru_cache(maxsize=1)  # The same ones for all candidates.
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


def _rates(shape, dtype, backward, seconds, ceilings):
    flops = shape.flops(backward) / seconds
    traffic = shape.bytes(tf.as_dtype(dtype).size, backward) / seconds
    return {
        "gflops": flops / 1e9,
        "gbytes": traffic / 1e9,
        "share_of_gemm": flops / ceilings.gemm,
        "share_of_copy": traffic / ceilings.copy,
        "gemm_ceiling": ceilings.gemm / 1e9,
        "copy_ceiling": ceilings.copy / 1e9,
    }


def tally(rows: Iterable[dict[str, object]]) -> list[str]:
    """Returns lines on how often each implementation was fastest, or tied."""
    counts, names, groups = collections.Counter(), {}, {}
    for row in rows:
        group = row["dtype"], row["mode"], row["pass"]
        groups[group] = names[row["implementation"]] = None
        counts[group, row["implementation"], row["verdict"]] += 1
    lines = []
    for group in groups:
        lines.append(" ".join(group))
        for name in names:
            fastest, tie, slower = (
                counts[group, name, verdict]
                for verdict in ("fastest", "tie", "slower")
            )
            lines.append(
                f"  {name:16} fastest {fastest:3}  tie {tie:3}  "
                f"slower {slower:3}"
            )
    return lines
