"""What each layer of a network costs for one image, as a table."""

import collections
import dataclasses
from collections.abc import Callable

import tensorflow as tf

from sagan.layers.initialization import layer_paths
from sagan.layers.pointwise import Pointwise
from sagan.layers.recorder import wrapped
from sagan.profiling.flops import (
    LOOPS,
    graph_costs,
    needed_operations,
    tensor_bytes,
)
from sagan.profiling.tracing import trace_network

REST = "relu, sums, resampling"
# Without the name, whose column is as wide as the longest.
_LINE = "{:>11}{:>12}{:>10}{:>10}{:>12}"
_NARROWEST = 25


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Cost of one layer, without the layers inside it.

    Attributes:
        name: Where the network holds it, as "blocks[0].conv1".
        shape: Output shape for one image, `(height, width, channels)`.
        parameters: Number of trainable parameters.
        multiply_adds: For one image, forward. What is computed from the weights
            alone, once for a whole batch, does not count: spectral norm and
            merged kernels.
        activation_bytes: Size of all tensors that the layer makes from one
            image, forward.
        is_pointwise: Whether it is a 1x1 convolution.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    is_pointwise: bool


def layer_costs(network) -> list[LayerCost]:
    """Returns the costs of a network's layers, in the order they run.

    The layers are those that have weights of their own, including attention
    blocks with their map; the last row, `REST`, is everything else.

    Args:
        network: A `Generator` or a `Discriminator` whose f, g and h are
            separate products.
    """
    calls = []
    # Keras has no public walk.
    with wrapped(network._flatten_layers(), "call", _recorder(calls)):
        function = trace_network(network, 1)
    work = _work_per_image(function)
    paths = {id(layer): path for path, layer in layer_paths(network).items()}
    rows = []
    for layer, shape, names in calls:
        parameters = _own_parameters(layer)
        if parameters:
            mine = _total(work.pop(name) for name in names & work.keys())
            pointwise = isinstance(layer, Pointwise)
            rows.append(
                LayerCost(paths[id(layer)], shape, parameters, *mine, pointwise)
            )
    return [*rows, LayerCost(REST, (), 0, *_total(work.values()), False)]


def _recorder(calls: list) -> Callable:
    """Returns a wrapper of `call` that records the operations of each layer.

    It appends `(layer, output shape, names of its own operations)` to `calls`,
    in the order in which layers start to run.
    """
    within = []  # Names made by the inner layers of each layer being called.

    def record(layer, call, *args, elementwise=None, **kwargs):
        graph = tf.compat.v1.get_default_graph()
        place, first = len(calls), len(graph.get_operations())
        calls.append(None)
        within.append(set())
        outputs = call(*args, **kwargs)
        made = {op.name for op in graph.get_operations()[first:]}
        own = made - within.pop()
        if within:
            within[-1] |= made
        calls[place] = layer, tuple(outputs.shape[1:]), own
        return elementwise.relu(outputs) if elementwise else outputs

    return record


def _work_per_image(function) -> dict[str, tuple[int, int]]:
    """Returns multiply-adds and bytes by operation.

    Only of operations that depend on the function's arguments.
    """
    graph, costs = function.graph, graph_costs(function)
    flops = collections.Counter()
    for cost in costs:
        flops[cost.name] += cost.flops
    dependent = {tensor.op.name for tensor in graph.inputs}
    dependent -= {tensor.op.name for tensor in graph.internal_captures}
    work = {}
    for op in needed_operations(graph):
        # The shape of a tensor does not depend on its values.
        if op.type == "Shape" or not any(
            tensor.op.name in dependent for tensor in op.inputs
        ):
            continue
        dependent.add(op.name)
        if op.type in LOOPS:
            inside = f"{op.name}/"
            total = sum(c.flops for c in costs if c.name.startswith(inside))
        elif op.name in flops:
            total = flops[op.name]
        else:
            continue
        work[op.name] = total // 2, sum(map(tensor_bytes, op.outputs))
    return work


def _total(work):
    work = list(work)
    return sum(flops for flops, _ in work), sum(size for _, size in work)


def _own_parameters(layer):
    inner = {
        id(variable)
        for other in layer._flatten_layers(include_self=False)
        for variable in other.trainable_variables
    }
    return sum(
        variable.value.shape.num_elements()
        for variable in layer.trainable_variables
        if id(variable) not in inner
    )


def layer_table(
    title: str, plain: list[LayerCost], rewritten: list[LayerCost]
) -> list[str]:
    """Returns the lines of one network's table.

    Args:
        title: Name of the network.
        plain: Its layers with neither `fused_resampling` nor
            `low_resolution_shortcut`.
        rewritten: Its layers with both; parameters and bytes are of these.
    """
    others = {row.name: row for row in plain}
    head = ("output", "parameters", "plain", "rewritten", "activations")
    pointwise = [
        [row for row in rows if row.is_pointwise] for rows in (plain, rewritten)
    ]
    shares = [
        f"{part / whole:.1%}"
        for part, whole in zip(
            _sums(*pointwise), _sums(plain, rewritten), strict=True
        )
    ]
    names = [row.name for row in rewritten]
    width = max(_NARROWEST, *(len(name) + 1 for name in names))
    lines = [
        (f"{title}, one image", _LINE.format(*head)),
        *(
            (row.name, _numbers(row.shape, [others[row.name]], [row]))
            for row in rewritten
        ),
        ("total", _numbers((), plain, rewritten)),
        ("share of 1x1 convolutions", _LINE.format("", *shares)),
    ]
    return [
        f"{'':{width}}{'million multiply-adds':>43}{'MB':>12}",
        *(f"{name:{width}}{numbers}" for name, numbers in lines),
    ]


def _numbers(shape, plain, rewritten):
    parameters, *others = _sums(plain, rewritten)
    return _LINE.format(
        "x".join(map(str, shape)),
        f"{parameters:,}",
        *(f"{value / 1e6:,.2f}" for value in others),
    )


def _sums(plain, rewritten):
    """Returns the numbers of a line."""
    return (
        sum(row.parameters for row in rewritten),
        sum(row.multiply_adds for row in plain),
        sum(row.multiply_adds for row in rewritten),
        sum(row.activation_bytes for row in rewritten),
    )
