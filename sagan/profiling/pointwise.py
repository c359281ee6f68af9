"""How fast each implementation of the 1x1 convolution is."""

import collections
import csv
import dataclasses
import functools
import io
import math
import pathlib
import statistics
from collections.abc import Iterable, Iterator, Sequence
from unittest import mock

import tensorflow as tf

from sagan.config import config_batch_size, parse_config
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise
from sagan.profiling.memory import peak_growth
from sagan.profiling.rates import measure_ceilings
from sagan.profiling.timing import Timing, time_in_turn, verdicts
from sagan.runs.files import write_text
from sagan.runs.machine import describe_machine

MODES = ("eager", "function", "jit")
PASSES = ("forward", "both")
DTYPES = ("float32", "bfloat16", "float16")
KEYS = ("shape", "dtype", "mode", "pass", "implementation")


@dataclasses.dataclass(frozen=True, order=True)
class Shape:
    """Of one 1x1 convolution: `[batch, height, width, channels]` to filters."""

    batch: int
    height: int
    width: int
    channels: int
    filters: int

    def __str__(self):
        inputs = (self.batch, self.height, self.width, self.channels)
        return "x".join(map(str, inputs)) + f"->{self.filters}"

    @property
    def positions(self) -> int:
        return self.batch * self.height * self.width

    def flops(self, backward: bool) -> int:
        """Of the product, and of those for both gradients."""
        product = 2 * self.positions * self.channels * self.filters
        return 3 * product if backward else product

    def bytes(self, size: int, backward: bool) -> int:
        """Least traffic: each operand read once, each result written once."""
        inputs = self.positions * self.channels
        outputs = self.positions * self.filters
        kernel = self.channels * self.filters
        once = inputs + outputs + kernel
        # Backward reads all three and writes two gradients.
        return size * (once + (once + inputs + kernel if backward else 0))


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


def pointwise_shapes(generator, discriminator, batch_size: int) -> set[Shape]:
    """Returns the shapes of all 1x1 convolutions in a training step.

    The discriminator has them for `batch_size` images and for twice as many:
    its own update sees real and fake ones.
    """
    shapes = set()
    apply = Pointwise.apply

    def record(layer, inputs, kernel):
        shapes.add(Shape(*inputs.shape, kernel.shape[-1]))
        return apply(layer, inputs, kernel)

    def step(latents, images, labels):
        generator(latents, labels, training=True)
        discriminator(images, labels, training=True)
        twice = tf.concat([images, images], 0)
        discriminator(twice, tf.concat([labels, labels], 0), training=True)

    with mock.patch.object(Pointwise, "apply", record):
        tf.function(step, autograph=False).get_concrete_function(
            tf.TensorSpec([batch_size, generator.latent_dim]),
            tf.TensorSpec([batch_size, *discriminator.image_shape]),
            tf.TensorSpec([batch_size], tf.int32),
        )
    return shapes


def config_shapes(config_files, bindings=(), batch_size: int | None = None):
    """Parses a config and returns the shapes in its networks.

    Args:
        config_files: Paths of gin files, as in `sagan.config.parse_config`.
        bindings: Override them.
        batch_size: Images a batch; that of the config if not given.

    Returns:
        As `pointwise_shapes`.
    """
    parse_config(config_files, bindings)
    return pointwise_shapes(
        build_generator(),
        build_discriminator(),
        config_batch_size() if batch_size is None else batch_size,
    )


def write_table(path, rows: list[dict[str, object]]) -> None:
    """Writes rows, which have the same keys, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: f"{value:.4g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )
    write_text(path, text.getvalue())


def read_table(path) -> list[dict[str, str]]:
    """Reads what `write_table` wrote; values stay text.

    Raises:
        ValueError: If there is no such file or it is no such table.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"There is no table {path}.")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = {*KEYS, "device", "median", "lower", "upper"} - set(
        reader.fieldnames or ()
    )
    if missing:
        raise ValueError(
            f"{path} is no table of this benchmark: it has no column "
            f"{', '.join(sorted(missing))}."
        )
    for number, row in enumerate(rows, start=2):
        if None in row.values():
            raise ValueError(f"{path}, line {number}, is not whole.")
    return rows


def compare(before, after) -> list[str]:
    """Compares two tables, line by line of what both have.

    Returns:
        Lines of text: how many times as fast `after` is as `before`, and "tie"
        where the quartiles overlap; at the end the median of all ratios, the
        lines in one table only, and a word if the devices differ.
    """
    old, new = (
        {tuple(row[key] for key in KEYS): row for row in read_table(path)}
        for path in (before, after)
    )
    head = f"{after} against {before}: above 1, the first is faster"
    lines, ratios = [], []
    for key in new.keys() & old.keys():
        one, other = _timing(old[key]), _timing(new[key])
        ratio = one.median / other.median
        ratios.append(ratio)
        verdict = "tie" if one.overlaps(other) else f"{ratio:.2f}x as fast"
        lines.append(f"{' '.join(key):60} {verdict}")
    lines = [head, *sorted(lines)]
    if ratios:
        median = statistics.median(ratios)
        lines.append(
            f"Median of all {len(ratios)} ratios: {median:.2f}. A factor that "
            "all share is the machine's."
        )
    alone = len(new.keys() ^ old.keys())
    if alone:
        lines.append(f"{alone} lines are in one of the tables only.")
    devices = {row["device"] for row in (*old.values(), *new.values())}
    if len(devices) > 1:
        lines.append(f"They are of several devices: {', '.join(devices)}.")
    return lines


def _timing(row):
    return Timing(*(float(row[key]) for key in ("median", "lower", "upper")), 0)
