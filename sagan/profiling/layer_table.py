"""What each layer of a network costs for one image."""

import collections
import dataclasses
from collections.abc import Callable
from unittest import mock

import keras
import tensorflow as tf

from sagan.layers.initialization import layer_paths
from sagan.layers.pointwise import Pointwise
from sagan.profiling.flops import graph_costs, needed_operations, tensor_bytes

REST = "relu, sums, resampling"


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """Of one layer, the layers within it left out.

    Attributes:
        name: Where the network holds it, as "blocks[0].conv1".
        shape: Of the output for one image, `(height, width, channels)`.
        parameters: Trainable numbers.
        multiply_adds: Of one image forward. What is made from the weights
            alone, once for a whole batch, does not count: spectral norm and
            merged kernels.
        activation_bytes: Of all that the layer makes from one image, forward.
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

    The layers are those that have weights of their own, attention blocks with
    their map among them; the last row, `REST`, is everything else.

    Args:
        network: A `Generator` or a `Discriminator` whose f, g and h are
            separate products.
    """
    if hasattr(network, "latent_dim"):
        inputs = tf.TensorSpec([1, network.latent_dim])
    else:
        inputs = tf.TensorSpec([1, *network.image_shape])
    calls = []
    with mock.patch.object(keras.layers.Layer, "__call__", _recorder(calls)):
        function = tf.function(
            lambda inputs, labels: network(inputs, labels, training=False),
            autograph=False,
        ).get_concrete_function(inputs, tf.TensorSpec([1], tf.int32))
    work = _work(function)
    rows = []
    paths = {id(layer): path for path, layer in layer_paths(network).items()}
    for layer, shape, names in calls:
        own = _own_parameters(layer)
        if own:
            name = paths[id(layer)]
            pointwise = isinstance(layer, Pointwise)
            rows.append(LayerCost(name, shape, own, *work(names), pointwise))
    listed = {id(layer) for layer, *_ in calls if _own_parameters(layer)}
    rest = [
        name
        for layer, _, names in calls
        if id(layer) not in listed
        for name in names
    ]
    return [*rows, LayerCost(REST, (), 0, *work(rest), False)]


def _recorder(calls: list) -> Callable:
    """Makes a `Layer.__call__` that notes the operations each layer adds.

    It appends `(layer, output shape, names of its own operations)` to `calls`
    where the layer starts to run.
    """
    call = keras.layers.Layer.__call__
    within = []  # For each layer under way, the names its inner layers made.

    def record(layer, *args, **kwargs):
        graph = tf.compat.v1.get_default_graph()
        place, first = len(calls), len(graph.get_operations())
        calls.append(None)
        within.append(set())
        outputs = call(layer, *args, **kwargs)
        made = {op.name for op in graph.get_operations()[first:]}
        own = made - within.pop()
        if within:
            within[-1] |= made
        calls[place] = layer, tuple(outputs.shape[1:]), own
        return outputs

    return record


def _work(function) -> Callable:
    """Returns what adds up multiply-adds and bytes of named operations.

    Only of operations that depend on the function's arguments.
    """
    arguments = {tensor.op.name for tensor in function.graph.inputs}
    arguments -= {tensor.op.name for tensor in function.graph.internal_captures}
    costs = graph_costs(function)
    flops = collections.Counter()
    for cost in costs:
        flops[cost.name] += cost.flops
    per_image = {}
    dependent = set(arguments)
    for op in needed_operations(function.graph):
        # The shape of a tensor is known without it.
        if op.type == "Shape":
            continue
        if any(tensor.op.name in dependent for tensor in op.inputs):
            dependent.add(op.name)
            size = sum(map(tensor_bytes, op.outputs))
            if op.type in ("While", "StatelessWhile"):
                inside = f"{op.name}/"
                within = (c.flops for c in costs if c.name.startswith(inside))
                per_image[op.name] = sum(within) // 2, size
            elif op.name in flops:
                per_image[op.name] = flops[op.name] // 2, size

    def work(names):
        found = [per_image[name] for name in names if name in per_image]
        return sum(f for f, _ in found), sum(size for _, size in found)

    return work


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
