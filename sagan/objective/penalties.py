"""Terms added to the loss: pure functions of logits, gradients and kernels.

All are computed in float32.
"""

from collections.abc import Callable, Iterable

import tensorflow as tf


def gradient_penalty(critic: Callable, images: tf.Tensor) -> tf.Tensor:
    """Mean over images of `|grad_x D(x)|^2`: R1 on real ones, R2 on generated.

    To be weighted by gamma / 2.

    Args:
        critic: Maps images to logits `[batch, 1]`, float32, each of which
            depends on its own image alone.
        images: `[batch, size, size, channels]`, float32.

    Returns:
        Scalar, float32.

    Source: Mescheder et al. (2018), arXiv:1801.04406, section 4.1: R1 and
    R2; both together in Huang et al. (2025), arXiv:2501.05441.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = critic(images)
    gradients = tape.gradient(logits, images)
    return tf.reduce_mean(tf.reduce_sum(tf.square(gradients), [1, 2, 3]))


def consistency(logits: tf.Tensor, augmented_logits: tf.Tensor) -> tf.Tensor:
    """Mean of `(D(x) - D(T(x)))^2`, with an augmentation T.

    Args:
        logits: Logits of images, `[batch, 1]`, float.
        augmented_logits: Those of the same images augmented.

    Returns:
        Scalar, float32. Both logits get its gradient.

    Source: Zhao et al. (2020), arXiv:2002.04724, section 3 (bCR), which has
    it on real and on generated images, with a weight of 10 each.
    """
    difference = tf.cast(logits, tf.float32) - tf.cast(
        augmented_logits, tf.float32
    )
    return tf.reduce_mean(tf.square(difference))


def lecam(
    real_logits: tf.Tensor,
    fake_logits: tf.Tensor,
    real_anchor: tf.Tensor,
    fake_anchor: tf.Tensor,
) -> tf.Tensor:
    """Mean of `max(0, D(x) - a_F)^2` plus that of `max(0, a_R - D(G(z)))^2`.

    Args:
        real_logits: Logits of real images, `[batch, 1]`, float.
        fake_logits: Logits of generated images, `[batch, 1]`, float.
        real_anchor: `a_R`, moving average of the former, scalar, float32.
        fake_anchor: `a_F`, that of the latter.

    Returns:
        Scalar, float32.

    Source: Tseng et al. (2021), arXiv:2104.03310, section 3; the cut at zero
    is that of `lecam_reg` in its code.
    """
    real = tf.cast(real_logits, tf.float32) - fake_anchor
    fake = real_anchor - tf.cast(fake_logits, tf.float32)
    return tf.reduce_mean(tf.square(tf.nn.relu(real))) + tf.reduce_mean(
        tf.square(tf.nn.relu(fake))
    )


def orthogonality(kernels: Iterable[tf.Tensor]) -> tf.Tensor:
    """Sum over kernels of `|W^T W * (1 - I)|_F^2`.

    Args:
        kernels: Raw kernels `[..., filters]`, float32, each taken as the
            matrix `[-1, filters]`.

    Returns:
        Scalar, float32: that of the filters' inner products, not of their
        lengths.

    Source: Brock et al. (2019), arXiv:1809.11096, section 3.1; a weight of 1e-4
    there. `ortho` in BigGAN-PyTorch adds half the gradient of this equation.
    """
    total = tf.constant(0.0)
    for kernel in kernels:
        matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
        products = tf.matmul(matrix, matrix, transpose_a=True)
        products -= tf.linalg.diag(tf.linalg.diag_part(products))
        total += tf.reduce_sum(tf.square(products))
    return total
