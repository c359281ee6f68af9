"""Adversarial losses: pure functions of logits, computed in float32."""

import tensorflow as tf


def hinge_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor
) -> tf.Tensor:
    """Mean of `max(0, 1 - D(x))` plus mean of `max(0, 1 + D(G(z)))`.

    Args:
        real_logits: Logits of real images, `[batch, 1]`, float.
        fake_logits: Logits of generated images, `[batch, 1]`, float.

    Returns:
        Scalar, float32.

    Source: Zhang et al. (2019), arXiv:1805.08318, equation 4.
    """
    real_logits = tf.cast(real_logits, tf.float32)
    fake_logits = tf.cast(fake_logits, tf.float32)
    return tf.reduce_mean(tf.nn.relu(1.0 - real_logits)) + tf.reduce_mean(
        tf.nn.relu(1.0 + fake_logits)
    )


def hinge_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Negative mean of `D(G(z))`.

    Args:
        fake_logits: Logits of generated images, `[batch, 1]`, float.

    Returns:
        Scalar, float32.

    Source: Zhang et al. (2019), arXiv:1805.08318, equation 4.
    """
    return -tf.reduce_mean(tf.cast(fake_logits, tf.float32))
