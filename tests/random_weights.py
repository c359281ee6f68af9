"""Networks with weights and inputs that tell mistakes apart."""

import numpy as np
import tensorflow as tf


def randomize(network, seed=0):
    """Gives every variable values that no initialiser gives it."""
    rng = np.random.default_rng(seed)
    for variable in network.weights:
        if variable.name == "kernel":
            fan_in = np.prod(variable.shape[:-1])
            value = rng.normal(size=variable.shape) / np.sqrt(fan_in)
        elif variable.name in ("moving_variance", "gain", "updates"):
            value = rng.uniform(0.5, 1.5, variable.shape)
        else:
            value = rng.normal(size=variable.shape) * 0.3
        variable.assign(value)


def draw_inputs(network, batch=2):
    """Returns latents or images, and labels."""
    if network.name == "generator":
        shape = [batch, network.latent_dim]
    else:
        shape = [batch, *network.image_shape]
    values = tf.random.stateless_normal(shape, [1, 2])
    labels = tf.range(batch) % max(1, network.num_classes)
    return tf.clip_by_value(values, -1.0, 1.0), labels
