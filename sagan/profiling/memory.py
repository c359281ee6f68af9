"""Memory of a training step: counted from its graph, and measured."""

import collections
import dataclasses
import math
import pathlib
from collections.abc import Callable

import tensorflow as tf

from sagan.profiling.flops import LOOPS, needed_operations, tensor_bytes

# Their output is their input, or a variable, under another name.
_VIEWS = {
    "Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient",
    "PreventGradient",
}  # fmt: skip
_NOT_HELD = {"Const", "ReadVariableOp"}
_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")


@dataclasses.dataclass(frozen=True)
class Memory:
    """Memory of a training step, linear in the batch size.

    Attributes:
        weights: Bytes of both networks and of the moving average.
        optimizer: Bytes of both optimisers' variables.
        fixed: Bytes that a step adds for any batch: gradients, kernels.
        per_image: Bytes that it adds for each image of the batch.
    """

    weights: int
    optimizer: int
    fixed: float
    per_image: float

    def total(self, batch_size: int) -> float:
        """Returns the bytes held at the peak of a step."""
        fixed = self.weights + self.optimizer + self.fixed
        return fixed + self.per_image * batch_size

    def largest_batch(self, memory: float) -> int:
        """Returns how many images fit in `memory` bytes; 0 if none does."""
        batch_size = math.floor((memory - self.total(0)) / self.per_image)
        return max(0, batch_size)


def fit_memory(gan, peaks: dict[int, int]) -> Memory:
    """Makes the `Memory` of a `GAN`.

    Args:
        gan: The `GAN`.
        peaks: Bytes that a step adds at its peak, for two batch sizes. The
            line goes through both.
    """
    (small, low), (large, high) = sorted(peaks.items())
    per_image = (high - low) / (large - small)
    networks = (gan.generator, gan.discriminator, gan.ema_generator)
    optimizers = (gan.g_optimizer, gan.d_optimizer)
    return Memory(
        weights=sum(variable_bytes(n.variables) for n in networks),
        optimizer=sum(variable_bytes(o.variables) for o in optimizers),
        fixed=low - per_image * small,
        per_image=per_image,
    )


def variable_bytes(variables) -> int:
    """Returns the size of Keras variables."""
    return sum(
        math.prod(variable.shape) * tf.as_dtype(variable.dtype).size
        for variable in variables
    )


def peak_bytes(function) -> int:
    """Returns the most that a concrete function holds at once.

    Operations run in graph order, and each tensor is held from the operation
    that makes it to the last one that reads it: activations until the backward
    pass has used them, gradients until the optimiser has. A loop holds in
    addition what one pass through its body does. Variables do not count, nor
    does what a kernel uses inside.
    """
    return _peak_of(function.graph)


def _peak_of(graph):
    operations = needed_operations(graph)
    source, last_use = {}, {}
    for i, op in enumerate(operations):
        for tensor in op.inputs:
            if tensor.name in source:
                last_use[source[tensor.name].name] = i
        for position, tensor in enumerate(op.outputs):
            if op.type in _VIEWS:
                viewed = op.inputs[position].name
                if viewed in source:
                    source[tensor.name] = source[viewed]
            elif op.type not in _NOT_HELD and tensor.dtype != tf.resource:
                source[tensor.name] = tensor
                last_use[tensor.name] = i
    held = {tensor.name: tensor for tensor in source.values()}
    freed = collections.Counter()
    for name, i in last_use.items():
        freed[i] += tensor_bytes(held[name])
    live = peak = 0
    for i, op in enumerate(operations):
        made = (tensor for tensor in op.outputs if tensor.name in held)
        live += sum(map(tensor_bytes, made))
        within = 0
        if op.type in LOOPS:
            body = graph._get_function(op.get_attr("body").name)
            within = _peak_of(body.graph)
        peak = max(peak, live + within)
        live -= freed[i]
    return peak


def peak_growth(call: Callable[[], object]) -> int | None:
    """Returns by how many bytes memory grows at most while `call` runs.

    TensorFlow's allocator counts it on a GPU, and on a CPU with oneDNN (which
    rounds large tensors up, to less than twice their size). Elsewhere it is the
    growth of this process's resident size, on Linux, which does not show
    memory that was freed before but kept.

    Returns:
        Bytes, or None where neither can be measured.
    """
    memory = tf.config.experimental
    device = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    try:
        memory.reset_memory_stats(device)
    except ValueError:  # This allocator does not count.
        return _resident_growth(call)
    before = memory.get_memory_info(device)["current"]
    call()
    return max(0, memory.get_memory_info(device)["peak"] - before)


def _resident_growth(call):
    try:
        _CLEAR.write_text("5")  # Sets the peak to the present size.
        before = _status("VmRSS")
    except OSError:
        return None
    call()
    return max(0, _status("VmHWM") - before)


def _status(name):
    # psutil does not tell the peak.
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}.")
