"""Self-attention by its equations, in NumPy and float64."""

import numpy as np


def kernel(layer):
    return layer.effective_kernel()[0, 0].numpy().astype(np.float64)


def pool(features):
    """2x2 maxima; an odd last row or column is pooled with what it has."""
    _, height, width, _ = features.shape
    edges = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    padded = np.pad(features, edges, constant_values=-np.inf)
    return np.max([padded[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], 0)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def attend(block, inputs):
    """Outputs and attention maps by their equations, in float64."""
    inputs = np.float64(inputs)
    layers = block.f, block.g, block.h
    keys, queries, values = (inputs @ kernel(layer) for layer in layers)
    if block.pooled:
        keys, values = pool(keys), pool(values)
    keys, queries, values = (
        x.reshape(len(x), -1, x.shape[-1]) for x in (keys, queries, values)
    )
    maps = softmax(queries @ keys.mT)
    outputs = (maps @ values @ kernel(block.v)).reshape(inputs.shape)
    return inputs + block.gamma.numpy() * outputs, maps
