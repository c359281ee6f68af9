"""What each network is trained for: its loss on a batch, and the gradients."""

import tensorflow as tf

from sagan.gradients import accumulate, dense_gradients
from sagan.losses import hinge_discriminator_loss, hinge_generator_loss

# Scalars of the discriminator that are means over its images.
_MEANS = (
    "d_loss", "real_logits", "fake_logits", "real_accuracy", "fake_accuracy",
)  # fmt: skip


def discriminator_gradients(
    generator,
    discriminator,
    scale_loss,
    images,
    labels,
    latents,
    fake_labels,
    joint_batch,
    accumulation,
):
    """Returns gradients of the discriminator's hinge loss, and scalars.

    Moves the discriminator's `u`, the generator's too and its moving moments.

    Args:
        generator: That makes the fake images.
        discriminator: Whose gradients.
        scale_loss: Function from the loss to the one that is differentiated.
        images: `[batch, size, size, channels]`, float32 in [-1, 1].
        labels: `[batch]`, int32.
        latents: Of the fake images, `[batch, latent_dim]`, float32.
        fake_labels: `[batch]`, int32.
        joint_batch: Whether real and fake images pass in one call.
        accumulation: Micro-batches, see `accumulate`.

    Returns:
        Gradients of the trainable variables, and a dict of float32 scalars
        and of the pixels' moments, see `pixel_moments`.
    """
    fakes = generator(latents, fake_labels, training=True)

    def compute(*batch):
        with tf.GradientTape() as tape:
            real_logits, fake_logits = _discriminate(
                discriminator, joint_batch, *batch
            )
            loss = hinge_discriminator_loss(real_logits, fake_logits)
            scaled_loss = scale_loss(loss)
        variables = discriminator.trainable_variables
        return dense_gradients(tape, scaled_loss, variables), {
            "d_loss": loss,
            "real_logits": tf.reduce_mean(real_logits),
            "fake_logits": tf.reduce_mean(fake_logits),
            "real_accuracy": _mean(real_logits > 0),
            "fake_accuracy": _mean(fake_logits < 0),
        }

    batch = images, labels, fakes, fake_labels
    gradients, scalars = accumulate(
        compute, discriminator, batch, accumulation, _MEANS
    )
    scalars["real_moments"] = pixel_moments(images)
    scalars["fake_moments"] = pixel_moments(fakes)
    return gradients, scalars


def _discriminate(
    discriminator, joint_batch, images, labels, fakes, fake_labels
):
    """Returns logits of real and of fake images; moves each `u` once."""
    if joint_batch:
        logits = discriminator(
            tf.concat([images, fakes], 0),
            tf.concat([labels, fake_labels], 0),
            training=True,
        )
        return tf.split(logits, 2)
    # In this order both start their power iteration from the same u.
    fake_logits = discriminator(fakes, fake_labels, training=False)
    return discriminator(images, labels, training=True), fake_logits


def generator_gradients(
    generator, discriminator, scale_loss, latents, labels, accumulation
):
    """Returns gradients of the generator's hinge loss, and scalars.

    Moves the generator's `u` and moving moments. Arguments and results are as
    those of `discriminator_gradients`.
    """

    def compute(latents, labels):
        with tf.GradientTape() as tape:
            fakes = generator(latents, labels, training=True)
            logits = discriminator(fakes, labels, training=False)
            loss = hinge_generator_loss(logits)
            scaled_loss = scale_loss(loss)
        variables = generator.trainable_variables
        return dense_gradients(tape, scaled_loss, variables), {"g_loss": loss}

    return accumulate(
        compute, generator, (latents, labels), accumulation, ("g_loss",)
    )


def pixel_moments(images):
    """Mean and mean square over the batch: `[2, size, size, channels]`."""
    return tf.stack(
        [tf.reduce_mean(images, 0), tf.reduce_mean(tf.square(images), 0)]
    )


def mean_std(moments):
    """Mean over pixels of the standard deviation, from `pixel_moments`."""
    mean, square = tf.unstack(moments)
    variance = tf.maximum(square - tf.square(mean), 0.0)
    return tf.reduce_mean(tf.sqrt(variance))


def _mean(condition):
    return tf.reduce_mean(tf.cast(condition, tf.float32))
