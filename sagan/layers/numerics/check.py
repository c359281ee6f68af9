"""Checks the linear operations of networks against float64.

On some processors some TensorFlow kernels are wrong rather than inexact:
products of 16-bit numbers that are off by their own magnitude, or sums over
positions that stop growing because they are accumulated in 16 bits. Which ones
depends on processor, dtype, shape and version, so every run checks its own.
"""

import dataclasses
import math
import os
import time
from collections.abc import Mapping, Sequence

from sagan.layers.numerics.deviations import deviations
from sagan.layers.numerics.operations import Operation, network_operations
from sagan.layers.pointwise import CONTROLS, IMPLEMENTATIONS

_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"


def check_networks(
    images: Mapping, machine: str, mode: str = "function", gradients=True
) -> str:
    """Checks the linear operations of networks against float64.

    Changes neither variables nor random states. The time does not grow with
    the batch.

    Args:
        images: Number of images in a call of each network.
        machine: Name of the processor, for the message.
        mode: How the networks run, one of `MODES`.
        gradients: Whether to check gradients too.

    Returns:
        Summary, such as "conv2d and convolutions in bfloat16 in 0.4 s".

    Raises:
        ValueError: As for `check_operations`.
    """
    started = time.perf_counter()
    operations = sorted(
        {
            operation
            for network, number in images.items()
            for operation in network_operations(network, number)
        }
    )
    check_operations(operations, machine, mode, gradients)
    names = sorted({o.name for o in operations if o.is_pointwise})
    dtypes = sorted({operation.dtype for operation in operations})
    seconds = time.perf_counter() - started
    return (
        f"{', '.join(names)} and convolutions in {' and '.join(dtypes)} in "
        f"{seconds:.1f} s"
    )


def check_operations(
    operations: Sequence[Operation],
    machine: str,
    mode: str = "function",
    gradients: bool = True,
) -> None:
    """Checks operations of networks against float64.

    Args:
        operations: From `network_operations`.
        machine: Name of the processor, for the message.
        mode: How they run, one of `MODES`.
        gradients: Whether to check their gradients too.

    Raises:
        ValueError: If one is wrong. The message names it, its dtype, its error
            and what to set instead.
    """
    wrong = [
        deviation
        for deviation in deviations(operations, mode, gradients)
        if deviation.is_wrong
    ]
    if not wrong:
        return
    wrong.sort(key=_order)
    worst = wrong[0]
    name, dtype = worst.operation.name, worst.operation.dtype
    if worst.operation.is_pointwise:
        same = [o for o in operations if o.name == name and o.dtype == dtype]
        name, fix = f"POINTWISE = {name!r}", _others(same, mode, gradients)
    else:
        name, fix = f"The {name}", _other_form(worst.operation, mode, gradients)
    raise ValueError(f"{name} is wrong in {dtype} on {machine}: {worst}. {fix}")


def _order(deviation):
    error = (
        deviation.relative if math.isfinite(deviation.relative) else math.inf
    )
    return deviation.operation.is_pointwise, -error


def _others(wrong, mode, gradients):
    """Returns advice that names the correct implementations."""
    dtype = wrong[0].dtype
    if wrong[0].name in CONTROLS:
        return _without_dtype(dtype)
    right = [
        name
        for name in IMPLEMENTATIONS
        if name != wrong[0].name
        and not any(
            deviation.is_wrong
            for deviation in deviations(
                [dataclasses.replace(o, name=name) for o in wrong],
                mode,
                gradients,
            )
        )
    ]
    if not right:
        return f"None of the others is right. {_without_dtype(dtype)}"
    return f"Right here: {', '.join(right)}. Set POINTWISE = {right[0]!r}."


def _other_form(wrong, mode, gradients):
    """Returns advice on a convolution that is not pointwise.

    The framework's form has no other: its dtype has to go.
    """
    framework = dataclasses.replace(wrong, products=False)
    if wrong.products and not any(
        deviation.is_wrong
        for deviation in deviations([framework], mode, gradients)
    ):
        return "Set product_gradient = False in both builders."
    return _without_dtype(wrong.dtype)


def _without_dtype(dtype):
    if os.environ.get(_ONEDNN) == "0":
        return f"Unset {_ONEDNN}, which is 0."
    if dtype == "float32":
        return "Use another processor or version of TensorFlow."
    return "Set PRECISION = 'float32'."
