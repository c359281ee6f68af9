"""What a traced function has to do: FLOPs and bytes of every operation.

Counted from the graph, after dropping what nothing depends on, as TensorFlow
does before it runs one. Operations are told apart by the layer whose name is
in theirs, forward and backward alike.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable

import tensorflow as tf

# Pattern of a component of an operation's name, and the part it belongs to;
# the first that fits decides.
_PARTS = (
    (r"spectral_norm(_\d+)*", "spectral norm"),
    (r"(upsample|downsample)(_\d+)*", "resampling"),
    (r"conv3x3(_\d+)*|conv", "3x3 convolutions"),
    (r"(pointwise|shortcut|[fghv]|reduce|expand)(_\d+)*", "1x1 convolutions"),
    (r"attention_\d+(_\d+)*|query_blocks(_\d+)*", "attention map"),
    (r"batch_norm(_\d+)*", "batch norm"),
    (r"(adam|loss_scale_optimizer)(_\d+)*", "optimizer"),
    (r"(dense|class_embedding)(_\d+)*", "dense and embedding"),
    (r"(relu|relugrad|add|addn)(_\d+)*", "relu and sums"),
)
PARTS = (*dict.fromkeys(part for _, part in _PARTS), "other")


# They move no data, or none in proportion to a batch.
_FREE = {
    "Const", "Placeholder", "Identity", "IdentityN", "NoOp", "ReadVariableOp",
    "Reshape", "Shape", "ShapeN", "StopGradient", "Squeeze", "ExpandDims",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class OpCost:
    """Of one operation.

    Attributes:
        name: In the graph.
        type: As "Conv2D".
        part: Of `PARTS`.
        flops: Of a convolution or matrix product, a multiply-add being two;
            0 for everything else.
        bytes: Read and written, if each operand passes once.
    """

    name: str
    type: str
    part: str
    flops: int
    bytes: int


def graph_costs(function) -> list[OpCost]:
    """Returns the costs of a concrete function, in its graph's order.

    All shapes must be known, and how often loops run. Of two branches the one
    with more bytes counts. Functions that it calls are not looked into.
    """
    return list(_costs(function.graph, ""))


def _costs(graph, scope):
    for op in needed_operations(graph):
        name = scope + op.name
        if op.type in _FREE:
            continue
        if op.type in ("While", "StatelessWhile"):
            # Its first two inputs are the counter and where it ends.
            times = tf.get_static_value(op.inputs[1])
            if times is None or times < 0:
                raise ValueError(f"The loop {name} has no known length.")
            body = graph._get_function(op.get_attr("body").name).graph
            yield from int(times) * list(_costs(body, f"{name}/"))
        elif op.type in ("If", "StatelessIf"):
            branches = (
                graph._get_function(op.get_attr(branch).name).graph
                for branch in ("then_branch", "else_branch")
            )
            costs = [list(_costs(branch, f"{name}/")) for branch in branches]
            yield from max(costs, key=lambda c: sum(cost.bytes for cost in c))
        else:
            yield OpCost(name, op.type, part_of(name), _flops(op), _bytes(op))


def flops_by_part(costs: Iterable[OpCost]) -> dict[str, int]:
    """Returns the sums of FLOPs, of the parts that have any."""
    sums = collections.Counter()
    for cost in costs:
        sums[cost.part] += cost.flops
    return {part: sums[part] for part in PARTS if sums[part]}


def part_of(name: str) -> str:
    """Returns the part of a step that an operation belongs to, by its name."""
    components = name.lower().split("/")
    for pattern, part in _PARTS:
        if any(re.fullmatch(pattern, component) for component in components):
            return part
    return "other"


def needed_operations(graph) -> list:
    """Returns what outputs and side effects depend on, in the graph's order."""
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


def _patch(kernel):
    return math.prod(kernel.shape[:3])


def _flops(op):
    # Of a convolution: for each number on the filters' side a patch of inputs.
    if op.type == "Conv2D":
        return 2 * _size(op.outputs[0]) * _patch(op.inputs[1])
    if op.type == "Conv2DBackpropInput":
        return 2 * _size(op.inputs[2]) * _patch(op.inputs[1])
    if op.type == "Conv2DBackpropFilter":
        return 2 * _size(op.inputs[2]) * _patch(op.outputs[0])
    if op.type in ("MatMul", "BatchMatMulV2"):
        transposed = op.get_attr(
            "transpose_a" if op.type == "MatMul" else "adj_x"
        )
        inner = op.inputs[0].shape[-2 if transposed else -1]
        return 2 * _size(op.outputs[0]) * inner
    if op.type == "Einsum":
        return 2 * _einsum_products(op)
    return 0


def _einsum_products(op):
    """Product of the sizes of all axes, those of an ellipsis included."""
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
        return 2 * sum(map(tensor_bytes, op.outputs))  # Of what they take.
    return sum(map(tensor_bytes, (*op.inputs, *op.outputs)))
