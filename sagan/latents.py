"""Latents and labels of generated images, as a function of a seed."""

import tensorflow as tf

# Named, since the default differs between devices.
_ALG = "philox"


def draw_latents(batch_size, latent_dim, num_classes, seed):
    """Draws what a generator makes images of.

    Args:
        batch_size: Images.
        latent_dim: Length of a latent vector.
        num_classes: Number of classes; 0 or 1 draws label 0.
        seed: `[2]`, integer.

    Returns:
        Latents `[batch_size, latent_dim]`, standard normal, float32, and
        labels `[batch_size]`, uniform, int32.
    """
    latents = tf.random.stateless_normal(
        [batch_size, latent_dim], fold_in(seed, 0), alg=_ALG
    )
    labels = tf.random.stateless_uniform(
        [batch_size],
        fold_in(seed, 1),
        maxval=max(1, num_classes),
        dtype=tf.int32,
        alg=_ALG,
    )
    return latents, labels


def fold_in(seed, number):
    """Returns the seed of the numbered stream under `seed`.

    Args:
        seed: `[2]`, integer.
        number: Scalar, integer.

    Returns:
        `[2]`, int64. TensorFlow draws the new key in the dtype of the number:
        with 32 bits some steps of a long run would share theirs.
    """
    return tf.random.experimental.stateless_fold_in(
        tf.cast(seed, tf.int64), tf.cast(number, tf.int64), alg=_ALG
    )
