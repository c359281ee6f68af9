"""The variables of a checkpoint by their paths, without networks."""

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import (
    TrackableObjectGraph,
)


def variable_shapes(path: str) -> dict[str, list[int]]:
    """Returns the shapes of a checkpoint's variables by their paths.

    Args:
        path: Of the checkpoint, as `tf.train.Checkpoint.read` takes it.
    """
    reader = tf.train.load_checkpoint(path)
    shapes = reader.get_variable_to_shape_map()
    return {name: shapes[key] for name, key in _keys(reader).items()}


def read_variables(path: str) -> dict[str, np.ndarray]:
    """Returns the values of a checkpoint's variables by their paths.

    Args:
        path: Of the checkpoint, as `tf.train.Checkpoint.read` takes it.
    """
    reader = tf.train.load_checkpoint(path)
    return {name: reader.get_tensor(key) for name, key in _keys(reader).items()}


def _keys(reader):
    """Returns the keys of the tensors by the paths of the variables.

    The keys themselves will not do: they are the shortest paths, through the
    list of an optimiser for most weights of a network.
    """
    keys = reader.get_variable_to_shape_map()
    nodes = TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    ).nodes
    found = {}
    visited = {0}
    children = sorted(
        nodes[0].children, key=lambda child: "optimizer" in child.local_name
    )
    for part in children:
        level = [(part.local_name, part.node_id)]
        while level:
            below = []
            for name, number in level:
                if number in visited:
                    continue
                visited.add(number)
                for value in nodes[number].attributes:
                    if value.checkpoint_key in keys:
                        found[name] = value.checkpoint_key
                # Keras has private lists of what has a name of its own.
                below += [
                    (f"{name}/{child.local_name}", child.node_id)
                    for child in sorted(
                        nodes[number].children,
                        key=lambda child: child.local_name.startswith("_"),
                    )
                ]
            level = below
    return found
