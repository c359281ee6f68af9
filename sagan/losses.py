"""Adversarial losses: pure functions of logits, computed in float32."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

LossName = Literal["hinge", "non_saturating", "wasserstein", "relativistic"]


class Loss(NamedTuple):
    """What the two networks minimise.

    Attributes:
        discriminator: Function of the logits of real and of generated images.
        generator: Function of the logits of generated images and, if `paired`,
            of real ones.
        paired: Whether each generated image is compared with a real one.
    """

    discriminator: Callable
    generator: Callable
    paired: bool = False


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


def non_saturating_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor
) -> tf.Tensor:
    """Mean of `-log s(D(x))` plus mean of `-log s(-D(G(z)))`, s the sigmoid.

    Args and Returns: as for `hinge_discriminator_loss`.

    Source: Goodfellow et al. (2014), arXiv:1406.2661, equation 1;
    `non_saturating` in loss_lib.py of compare_gan.
    """
    return _mean_softplus(-_float32(real_logits)) + _mean_softplus(
        _float32(fake_logits)
    )


def non_saturating_generator_loss(fake_logits: tf.Tensor) -> tf.Tensor:
    """Mean of `-log s(D(G(z)))`.

    Args and Returns: as for `hinge_generator_loss`.

    Source: Goodfellow et al. (2014), arXiv:1406.2661, section 3.
    """
    return _mean_softplus(-_float32(fake_logits))


def wasserstein_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor
) -> tf.Tensor:
    """Mean of `D(G(z))` minus mean of `D(x)`; nothing is clipped.

    Args and Returns: as for `hinge_discriminator_loss`.

    Source: Arjovsky et al. (2017), arXiv:1701.07875;
    `wasserstein` in loss_lib.py of compare_gan. The Lipschitz bound is left to
    spectral normalisation.
    """
    return tf.reduce_mean(_float32(fake_logits)) - tf.reduce_mean(
        _float32(real_logits)
    )


def relativistic_discriminator_loss(
    real_logits: tf.Tensor, fake_logits: tf.Tensor
) -> tf.Tensor:
    """Mean over pairs of `-log s(D(x) - D(G(z)))`.

    Args and Returns: as for `hinge_discriminator_loss`; row i of one is
    compared with row i of the other.

    Source: Huang et al. (2025), arXiv:2501.05441, section 2, with
    `f(t) = -log(1 + exp(-t))`, as in the code of R3GAN.
    """
    return _mean_softplus(_float32(fake_logits) - _float32(real_logits))


def relativistic_generator_loss(
    fake_logits: tf.Tensor, real_logits: tf.Tensor
) -> tf.Tensor:
    """Mean over pairs of `-log s(D(G(z)) - D(x))`.

    Args, Returns and Source: as for `relativistic_discriminator_loss`.
    """
    return _mean_softplus(_float32(real_logits) - _float32(fake_logits))


LOSSES = {
    "hinge": Loss(hinge_discriminator_loss, hinge_generator_loss),
    "non_saturating": Loss(
        non_saturating_discriminator_loss, non_saturating_generator_loss
    ),
    # Its generator minimises what that of the hinge loss does.
    "wasserstein": Loss(wasserstein_discriminator_loss, hinge_generator_loss),
    "relativistic": Loss(
        relativistic_discriminator_loss,
        relativistic_generator_loss,
        paired=True,
    ),
}


def _float32(logits):
    return tf.cast(logits, tf.float32)


def _mean_softplus(values):
    return tf.reduce_mean(tf.math.softplus(values))
