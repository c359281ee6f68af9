"""Initial weights, each a function of the seed and its variable's path."""

import hashlib

import keras


def initialize(network: keras.Model, seed: int) -> None:
    """Redraws the random weights of a built network.

    Each depends only on the seed and the path of its variable, so two networks
    that differ in one layer start from equal weights everywhere else. Keras
    draws all weights from one stream, in which every layer shifts those after
    it.

    A variable `kernel` is drawn by the `kernel_initializer` of its layer, and
    likewise for any other name; variables whose initializer takes no seed are
    left unchanged.

    Args:
        network: A generator, a discriminator or a classifier.
        seed: Seed of the run.
    """
    for path, layer in layer_paths(network, f"{network.name}.").items():
        own = layer._trainable_variables + layer._non_trainable_variables
        for variable in own:
            initializer = getattr(layer, f"{variable.name}_initializer", None)
            settings = initializer.get_config() if initializer else {}
            if "seed" in settings:
                key = f"{seed} {path}.{variable.name}"
                settings["seed"] = _hash(key)
                initializer = type(initializer).from_config(settings)
                variable.assign(initializer(variable.shape, variable.dtype))


def layer_paths(
    layer: keras.layers.Layer, prefix: str = ""
) -> dict[str, keras.layers.Layer]:
    """Returns the layers nested in a layer by attribute path.

    For example `blocks[0].conv1`; layers of a `Sequential` go by their names.
    """
    paths = {}
    for name, value in _held(layer):
        held = {f"{prefix}{name}": value}
        if isinstance(value, tuple):
            held = {f"{prefix}{name}[{i}]": v for i, v in enumerate(value)}
        for path, inner in held.items():
            if isinstance(inner, keras.layers.Layer):
                paths[path] = inner
                paths |= layer_paths(inner, f"{path}.")
    return paths


def _held(layer):
    if isinstance(layer, keras.Sequential):
        return [(inner.name, inner) for inner in layer.layers]
    return [(k, v) for k, v in vars(layer).items() if not k.startswith("_")]


def _hash(text):
    """Returns a hash of 31 bits, the range of Keras' seeds."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
