"""Concrete functions of networks."""

import tensorflow as tf


def trace_network(network, batch_size: int):
    """Returns the concrete function of a network's forward pass.

    Args:
        network: A `Generator` or a `Discriminator`.
        batch_size: Images in the batch.
    """
    if hasattr(network, "latent_dim"):
        shape = [batch_size, network.latent_dim]
    else:
        shape = [batch_size, *network.image_shape]
    return tf.function(
        lambda inputs, labels: network(inputs, labels, training=False),
        autograph=False,
    ).get_concrete_function(
        tf.TensorSpec(shape), tf.TensorSpec([batch_size], tf.int32)
    )
