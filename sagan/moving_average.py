"""The moving average of the generator's weights."""

import tensorflow as tf

from sagan.layers.spectral_norm import spectral_layers


def update_average(average, network, decay: tf.Tensor) -> None:
    """Moves the weights of `average` one step towards those of `network`.

    Weights and batch-norm moments are averaged. The singular vectors `u` are
    not, since an average of them belongs to no kernel: each follows its
    averaged kernel by a power iteration of its own.

    Args:
        average: A network of the same shape as `network`.
        network: The one that is trained.
        decay: Scalar, float32; with 0 the average equals the weights.
    """
    layers = spectral_layers(average)
    vectors = {id(layer.u) for layer in layers}
    for mean, weight in zip(average.weights, network.weights, strict=True):
        if id(mean) not in vectors:
            # This form equals the weight exactly where decay is zero.
            mean.assign(weight + decay * (mean - weight))
    for layer in layers:
        layer.effective_kernel(training=True)
