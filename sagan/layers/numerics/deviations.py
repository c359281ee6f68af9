"""Errors of a network's linear operations relative to float64."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from sagan.layers.conv import conv_downsample, upsample_conv
from sagan.layers.depthwise import depthwise_conv
from sagan.layers.kernel_gradient import conv2d
from sagan.layers.numerics.exact import (
    POOLED,
    UPSAMPLED,
    block_diagonal,
    exact_bias,
    exact_results,
)
from sagan.layers.numerics.operations import (
    BIAS,
    CONV,
    CONV5,
    DEPTHWISE,
    DOWN,
    UP,
    Operation,
)
from sagan.layers.pointwise import IMPLEMENTATIONS, grouped
from sagan.layers.spectral_norm import SpectralLayer

# Unit roundoff: half the distance from 1 to the next number.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
RESULTS = ("outputs", "d_inputs", "d_kernel")
# "unknown" is a function whose batch and spatial sizes are unknown at tracing.
MODES = ("eager", "function", "unknown", "jit")
# Accepted standard deviations of accumulated rounding.
_SIGMAS = 6.0
# Accepted error relative to the largest value: sums of numbers of one sign,
# accumulated in float32, are off by more than random rounding.
_INEXACT = {"float32": 1e-4, "bfloat16": 0.01, "float16": 0.01}
# Number of channels and of filters whose results are compared.
_LOOKED_AT = 8


@dataclasses.dataclass(frozen=True)
class Deviation:
    """Error of one result of an operation.

    Attributes:
        operation: The operation.
        result: One of `RESULTS`.
        tolerances: Largest error in units of what rounding explains.
        relative: Largest error relative to the largest exact value.
    """

    operation: Operation
    result: str
    tolerances: float
    relative: float

    @property
    def is_wrong(self) -> bool:
        """Whether the result is wrong rather than inexact; NaN is wrong."""
        inexact = _INEXACT[self.operation.dtype]
        return not (self.tolerances <= 1 or self.relative <= inexact)

    def __str__(self):
        kernel = "bias" if self.operation.name == BIAS else "kernel"
        result = {
            "outputs": "outputs are",
            "d_inputs": "gradient of the inputs is",
            "d_kernel": f"gradient of the {kernel} is",
        }[self.result]
        off = "not finite"
        if math.isfinite(self.relative):
            digits = ".0f" if self.relative >= 0.1 else ".2g"
            off = f"off by {100 * self.relative:{digits}} %"
        return f"its {result} {off} at {self.operation}"


def deviations(
    operations: Sequence[Operation], mode="function", gradients=True
) -> list[Deviation]:
    """Returns the error of each result of each operation.

    Args:
        operations: From `network_operations`.
        mode: How they run, one of `MODES`.
        gradients: Whether to include their gradients.
    """
    operands = [_operands(operation) for operation in operations]
    results = RESULTS if gradients else RESULTS[:1]

    def run(*operands):
        return [
            _results(operation, *operands[3 * i : 3 * i + 3])[: len(results)]
            for i, operation in enumerate(operations)
        ]

    flat = [tensor for triple in operands for tensor in triple]
    found = compiled(run, mode, flat)(*flat)
    return [
        Deviation(operation, result, *errors)
        for operation, given, values in zip(
            operations, operands, found, strict=True
        )
        for result, errors in zip(
            results, _errors(operation, given, values), strict=False
        )
    ]


def compiled(run, mode: str, operands):
    """Compiles a function of tensors as a mode requires.

    Args:
        run: The function.
        mode: One of `MODES`.
        operands: Inputs, kernel and direction of each operation, flattened.
    """
    if mode == "eager":
        return run
    specs = [tf.TensorSpec.from_tensor(operand) for operand in operands]
    if mode == "unknown":
        specs = [
            spec
            if i % 3 == 1
            else tf.TensorSpec([None, None, None, spec.shape[-1]], spec.dtype)
            for i, spec in enumerate(specs)
        ]
    # Traced explicitly, without the retracing warning that calls would give.
    function = tf.function(run, autograph=False, jit_compile=mode == "jit")
    return function.get_concrete_function(*specs)


def tolerance(value, root, terms: int, dtype: str):
    """Returns the error that rounding explains in a correct sum.

    The errors of a sum of n terms rounded one by one are a random walk: they
    add up to about `sqrt(n / 2)` roundings of the root of the sum of squares.
    Then the result itself is rounded. The smallest float16 numbers have an
    absolute spacing.

    Args:
        value: The sums, float64.
        root: The roots of the sums of their squared terms.
        terms: Number of terms.
        dtype: Key of `ROUNDING`.
    """
    walk = _SIGMAS * np.sqrt(terms / 2) * root
    return _rounding(dtype) * (walk + np.abs(value)) + 2.0**-24


def _rounding(dtype):
    tf32 = (
        tf.config.experimental.tensor_float_32_execution_enabled()
        and tf.config.list_physical_devices("GPU")
    )
    # Allowing TF32 accepts its rounding.
    return ROUNDING["float16" if tf32 and dtype == "float32" else dtype]


def _operands(operation):
    """Draws inputs, a kernel and a direction, exact in the operation's dtype.

    Inputs and direction are positive, so that sums over positions grow.
    """
    rng = np.random.default_rng(0)
    fan_in = math.prod(operation.kernel[:-1])
    inputs = rng.random(operation.inputs, np.float32)
    kernel = rng.standard_normal(operation.kernel, np.float32) / fan_in**0.5
    direction = rng.random(operation.outputs, np.float32)
    dtype = operation.dtype
    kernel = tf.cast(tf.cast(kernel, dtype), tf.float32)
    return tf.cast(inputs, dtype), kernel, tf.cast(direction, dtype)


def _results(operation, inputs, kernel, direction):
    """Returns outputs and gradients, computed by the networks' own code."""
    with tf.GradientTape() as tape:
        tape.watch((inputs, kernel))
        outputs = apply_operation(operation, inputs, kernel)
    return outputs, *tape.gradient(outputs, (inputs, kernel), direction)


def apply_operation(operation, inputs, kernel):
    """Applies an `Operation` as the networks do."""
    name = operation.name
    if name == UP:
        return upsample_conv(inputs, kernel, operation.products)
    if name == DOWN:
        return conv_downsample(inputs, kernel, operation.products)
    if name == DEPTHWISE:
        return depthwise_conv(inputs, kernel)
    kernel = tf.cast(kernel, inputs.dtype)
    if name in (CONV, CONV5):
        return conv2d(inputs, kernel, products=operation.products)
    if name == BIAS:
        layer = SpectralLayer(inputs.shape[-1], dtype=operation.dtype)
        layer.bias = kernel
        return layer.add_bias(inputs)
    return IMPLEMENTATIONS.get(name, grouped)(inputs, kernel)


def _errors(operation, operands, found):
    """Yields `tolerances` and `relative` of a `Deviation` for each result."""
    # Casts to float32 are exact for all dtypes.
    operands = [tf.cast(operand, tf.float32).numpy() for operand in operands]
    c_in, c_out = operation.inputs[-1], operation.outputs[-1]
    images, channels, filters = (
        _spread(operation.inputs[0], 2),
        _spread(c_in, _LOOKED_AT),
        _spread(c_out, _LOOKED_AT),
    )
    looks = [
        lambda outputs: outputs[images][..., filters],
        lambda d_inputs: d_inputs[images][..., channels],
        lambda d_kernel: block_diagonal(d_kernel, c_in)[
            ..., channels[:, None], filters
        ],
    ]
    if operation.name == BIAS:
        looks[2] = lambda d_bias: d_bias[channels]
        operands = [operand[..., channels] for operand in operands]
        exact = exact_bias(*operands, images)
    else:
        inputs, kernel, direction = operands
        exact = exact_results(
            inputs,
            block_diagonal(kernel, c_in),
            direction,
            {UP: UPSAMPLED, DOWN: POOLED}.get(operation.name),
            images,
            channels,
            filters,
        )
        # Neither the kernel nor its gradient has entries between groups.
        exact[2][0][...] *= looks[2](np.ones_like(kernel))
    for given, look, (value, root, terms) in zip(
        found, looks, exact, strict=False
    ):
        error = np.abs(np.float64(look(given.numpy())) - value)
        bound = tolerance(value, root, terms, operation.dtype)
        largest = np.max(error) / np.max(np.abs(value))
        yield float(np.max(error / bound)), float(largest)


def _spread(size, most):
    """Returns evenly spaced indices along an axis, including both ends."""
    return np.unique(np.linspace(0, size - 1, most).round().astype(int))
