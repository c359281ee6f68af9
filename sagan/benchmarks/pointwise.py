"""Every implementation of the 1x1 convolution, at every shape of a network."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from unittest import mock

import tensorflow as tf

from sagan.benchmarks.ceilings import measure_ceilings
from sagan.benchmarks.memory import peak_growth
from sagan.benchmarks.timing import time_in_turn, verdicts
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise

MODES = ("eager", "function", "jit")
PASSES = ("forward", "both")
DTYPES = ("float32", "bfloat16", "float16")


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


def pointwise_shapes(generator, discriminator, batch_size: int):
    """Returns how often each `Shape` runs forward in one training step.

    One discriminator update and one generator update, as `GAN` makes them.
    """
    counts = collections.Counter()
    call = Pointwise.call

    def record(layer, inputs, training=False):
        counts[Shape(*inputs.shape, layer.filters)] += 1
        return call(layer, inputs, training=training)

    def step(latents, images, labels):
        generator(latents, labels, training=True)  # in either update
        generator(latents, labels, training=True)
        discriminator(images, labels, training=True)
        twice = tf.concat([images, images], 0)
        discriminator(twice, tf.concat([labels, labels], 0), training=True)

    with mock.patch.object(Pointwise, "call", record):
        tf.function(step, autograph=False).get_concrete_function(
            tf.TensorSpec([batch_size, generator.latent_dim]),
            tf.TensorSpec([batch_size, *discriminator.image_shape]),
            tf.TensorSpec([batch_size], tf.int32),
        )
    return counts


def benchmark(
    shapes: Iterable[Shape],
    dtypes: Sequence[str] = ("float32",),
    modes: Sequence[str] = ("function",),
    implementations: Sequence[str] = tuple(IMPLEMENTATIONS),
    samples: int = 15,
) -> Iterator[list[dict[str, object]]]:
    """Times implementations against each other.

    Args:
        shapes: Of the convolutions.
        dtypes: Of `DTYPES`.
        modes: Of `MODES`: operation by operation, as a `tf.function`, or
            compiled by XLA.
        implementations: Keys of `IMPLEMENTATIONS`.
        samples: Of each timing.

    Yields:
        For each shape, dtype, mode and pass the rows of all implementations:
        dicts with seconds (`median`, `lower`, `upper`), `gflops` and `gbytes`
        a second, their shares of the machine's GEMM and copy ceilings,
        `peak_bytes` and the `verdict` among the implementations.
    """
    shapes = list(shapes)
    for dtype in dtypes:
        ceilings = measure_ceilings(dtype)
        for shape in shapes:
            for mode in modes:
                for backward in (False, True):
                    calls = {
                        name: _make_call(name, shape, dtype, mode, backward)
                        for name in implementations
                    }
                    timings = time_in_turn(calls, samples)
                    verdict = verdicts(timings)
                    yield [
                        {
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
    if mode != "eager":
        function = tf.function(function, jit_compile=mode == "jit")
    return functools.partial(function, *_operands(shape, dtype))


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
    }
