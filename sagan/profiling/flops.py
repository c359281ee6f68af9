"""FLOPs and bytes of every operation of a traced function.

Counted from the graph, after dropping what nothing depends on, as TensorFlow
does before it runs one. Each operation belongs to a part of a training step by
the name scope of its layer, forward and backward alike.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable

import tensorflow as tf

# Name scopes of each part, without the numbers that make them unique. The
# first part that has one of an operation's scopes decides.
_SCOPES = {
    "spectral norm": {"spectral_norm"},
    "resampling": {"upsample", "downsample"},
    "3x3 convolutions": {"conv3x3", "conv"},
    "other convolutions": {"conv5x5", "depthwise_conv3x3"},
    "1x1 convolutions": {
        "pointwise", "shortcut", "f", "g", "h", "v", "reduce", "expand",
    },
    "attention map": {"attention", "query_blocks"},
    "batch norm": {"batch_norm"},
    "optimizer": {"adam", "loss_scale_optimizer"},
    "dense and embedding": {"dense", "class_embedding"},
}  # fmt: skip
# Outside of these scopes; oneDNN puts "_Mkl" before a type.
_SUMS = ("Relu", "ReluGrad", "Add", "AddV2", "AddN")
PARTS = (*_SCOPES, "relu and sums", "other")
LOOPS = ("While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf")
# They move no data, or none in proportion to a batch.
_FREE = {
    "Const", "Placeholder", "Identity", "IdentityN", "NoOp", "ReadVariableOp",
    "Reshape", "Shape", "ShapeN", "StopGradient", "Squeeze", "ExpandDims",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OpCost:
    """Cost of one operation.

    Attributes:
        name: Name in the graph.
        type: Type, as "Conv2D".
        part: One of `PARTS`.
        flops: FLOPs of a convolution or matrix product, two for each
            multiply-add; 0 for everything else.
        bytes: Bytes read and written if each operand is moved once.
    """

    name: str
    type: str
    part: str
    flops: int
    bytes: int


def graph_costs(function) -> list[OpCost]:
    """Returns the costs of a concrete function, in its graph's order.

    All shapes and the lengths of loops must be known. Of two branches the one
    that moves more bytes counts. Functions that it calls are not counted.
    """
    return list(_costs(function.graph, ""))


def _costs(graph, scope):
    for op in needed_operations(graph):
        name = scope + op.name
        if op.type in _FREE:
            continue
        if op.type in LOOPS:
            # The first two inputs are the counter and its end.
            times = tf.get_static_value(op.inputs[1])
            if times is None or times < 0:
                raise ValueError(f"The loop {name} has no known length.")
            body = graph._get_function(op.get_attr("body").name).graph
            yield from int(times) * list(_costs(body, f"{name}/"))
        elif op.type in _BRANCHES:
            branches = (
                graph._get_function(op.get_attr(branch).name).graph
                for branch in ("then_branch", "else_branch")
            )
            costs = [list(_costs(branch, f"{name}/")) for branch in branches]
            yield from max(costs, key=lambda c: sum(cost.bytes for cost in c))
        else:
            part = part_of(name, op.type)
            yield OpCost(name, op.type, part, _flops(op), _bytes(op))


def flops_by_part(costs: Iterable[OpCost]) -> dict[str, int]:
    """Returns the FLOPs of each part that has any."""
    sums = collections.Counter()
    for cost in costs:
        sums[cost.part] += cost.flops
    return {part: sums[part] for part in PARTS if sums[part]}


def part_of(name: str, kind: str) -> str:
    """Returns the part of a step that an operation of a type belongs to."""
    scopes = {
        re.sub(r"(_\d+)+$", "", scope) for scope in name.lower().split("/")
    }
    if "relu" in scopes:  # Also within those of the layer before it.
        return "relu and sums"
    for part, known in _SCOPES.items():
        if scopes & known:
            return part
    sums = kind.rpartition("_Mkl")[2] in _SUMS
    return "relu and sums" if sums else "other"


def needed_operations(graph) -> list:
    """Returns what outputs and side effects depend on, in graph order."""
    waiting = [tensor.op for tensor in graph.outputs] + list(
        graph.control_outputs
    )
    found = set()
    while waiting:
        op = waiting.pop()
        if op.name not in found:
            found.add(op.name)
            waiting += [tensor.op for tensor in op.inputs]
            waiting += op.control_inputs
    return [op for op in graph.get_operations() if op.name in found]


def tensor_bytes(tensor) -> int:
    """Returns the size of a tensor of the graph; 0 if its shape is unknown."""
    if not tensor.shape.is_fully_defined():
        return 0
    return _size(tensor) * tensor.dtype.size


def _size(tensor):
    return math.prod(tensor.shape)


# Axes of a kernel that a number on the filters' side is a sum over. A depthwise
# one has the shape [height, width, channels, 1].
_SUMMED_AXES = {"Conv2D": 3, "DepthwiseConv2dNative": 2}


def _flops(op):
    kind = op.type.removesuffix("BackpropInput").removesuffix("BackpropFilter")
    if kind in _SUMMED_AXES:
        numbers, kernel = _filters_side(op)
        patch = math.prod(kernel.shape[: _SUMMED_AXES[kind]])
        return 2 * _size(numbers) * patch
    if op.type in ("MatMul", "BatchMatMulV2"):
        transposed = op.get_attr(
            "transpose_a" if op.type == "MatMul" else "adj_x"
        )
        inner = op.inputs[0].shape[-2 if transposed else -1]
        return 2 * _size(op.outputs[0]) * inner
    if op.type == "Einsum":
        return 2 * _einsum_products(op)
    return 0


def _filters_side(op):
    """Returns a convolution's tensor with an axis of filters, and kernel."""
    if op.type.endswith("BackpropInput"):
        return op.inputs[2], op.inputs[1]
    if op.type.endswith("BackpropFilter"):
        return op.inputs[2], op.outputs[0]
    return op.outputs[0], op.inputs[1]


def _einsum_products(op):
    """Returns the product of all axes' sizes, those of an ellipsis included."""
    terms = op.get_attr("equation").decode().split("->")[0].split(",")
    sizes, leading = {}, ()
    for term, tensor in zip(terms, op.inputs, strict=True):
        axes = term.replace("...", "")
        head = term.index("...") if "..." in term else len(axes)
        free = len(tensor.shape) - len(axes)
        sizes |= zip(axes[:head], tensor.shape[:head], strict=True)
        sizes |= zip(axes[head:], tensor.shape[head + free :], strict=True)
        leading = max(leading, tuple(tensor.shape[head : head + free]), key=len)
    return math.prod(sizes.values()) * math.prod(leading)


def _bytes(op):
    if op.type in ("StridedSlice", "Slice", "GatherV2", "ResourceGather"):
        return 2 * sum(map(tensor_bytes, op.outputs))  # Only what they take.
    return sum(map(tensor_bytes, (*op.inputs, *op.outputs)))
