"""The adversarial game: both networks, both optimisers, one training step."""

import tensorflow as tf

from sagan.gradients import accumulate, dense_gradients, global_norm
from sagan.latents import draw_latents, fold_in
from sagan.losses import hinge_discriminator_loss, hinge_generator_loss
from sagan.moving_average import update_average

# Scalars of a discriminator update that are means over its images.
_D_MEANS = (
    "d_loss", "real_logits", "fake_logits", "real_accuracy", "fake_accuracy",
)  # fmt: skip


class GAN:
    """Trains a generator and a discriminator against each other.

    One step is `d_steps` discriminator updates, each on fresh real images and
    fresh latents, then one generator update, then the moving average of the
    generator. Latents and labels are a function of `seed` and the step alone,
    so that a resumed run draws the same ones.

    The released code updates the generator first. Its power iteration for the
    discriminator is stored on the real half of a discriminator update only;
    here real and fake images pass through in one call, so it is stored once
    an update too, and a generator update leaves it alone.

    Args:
        generator: The `Generator` to train.
        discriminator: The `Discriminator` to train.
        ema_generator: A second generator of the same shape, which receives
            the moving average of the first one's weights.
        g_optimizer: Optimiser of the generator.
        d_optimizer: Optimiser of the discriminator.
        seed: Of latents and labels.
        ema_decay: Of the moving average, in `[0, 1)`.
        ema_start: Step until which the average just follows the generator.
        jit_compile: Whether XLA compiles the updates.
        joint_batch: Whether real and fake images pass through the
            discriminator in one call; if not, in two, with the same kernels.
        accumulation: Micro-batches of an update, see `accumulate`. It changes
            only the batch norm of generator updates: images to discriminate
            are made in one go, which bounds what it saves.

    Source: Zhang et al. (2019), arXiv:1805.08318, section 4; the moving
    average is that of BigGAN-PyTorch's SAGAN recipe, not of the paper.
    """

    def __init__(
        self,
        generator,
        discriminator,
        ema_generator,
        g_optimizer,
        d_optimizer,
        seed=0,
        ema_decay=0.9999,
        ema_start=0,
        jit_compile=False,
        joint_batch=True,
        accumulation=1,
    ):
        self.generator = generator
        self.discriminator = discriminator
        self.ema_generator = ema_generator
        self.g_optimizer = g_optimizer
        self.d_optimizer = d_optimizer
        self.seed = seed
        self.ema_decay = ema_decay
        self.ema_start = ema_start
        self.jit_compile = jit_compile
        self.joint_batch = joint_batch
        self.accumulation = accumulation
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # Restoring a checkpoint fills only variables that exist.
        g_optimizer.build(generator.trainable_variables)
        d_optimizer.build(discriminator.trainable_variables)
        ema_generator.trainable = False
        ema_generator.set_weights(generator.get_weights())
        # Functions of their own within that of the step: d_steps updates are
        # traced once, and latents are drawn outside of XLA, which turns the
        # same random bits into other numbers.
        self.d_update = tf.function(
            self.update_discriminator, jit_compile=jit_compile
        )
        self.g_update = tf.function(
            self.update_generator, jit_compile=jit_compile
        )
        self.train_step = tf.function(self._train_step)
        self.train_steps = tf.function(self._train_steps)

    def _train_step(self, images, labels):
        """Runs one training step.

        Args:
            images: Real images, `[d_steps, batch, size, size, channels]`,
                float32 in [-1, 1].
            labels: Their labels, `[d_steps, batch]`, int32.

        Returns:
            Dict of scalars, float32; those of the discriminator are from its
            last update.
        """
        d_steps, batch_size = images.shape[:2]
        seed = fold_in([self.seed, 0], self.step)
        for i in range(d_steps):
            scalars = self.d_update(
                images[i],
                labels[i],
                *self.draw_latents(batch_size, fold_in(seed, i)),
            )
        scalars |= self.g_update(
            *self.draw_latents(batch_size, fold_in(seed, d_steps))
        )
        self.update_ema()
        self.step.assign_add(1)
        return scalars

    def _train_steps(self, batches):
        """Runs several training steps without a return to Python.

        Args:
            batches: List of the images and labels of each step.

        Returns:
            Dict of scalars, `[steps]`, float32.
        """
        scalars = [
            self.train_step(images, labels) for images, labels in batches
        ]
        return {
            name: tf.stack([values[name] for values in scalars])
            for name in scalars[0]
        }

    def update_discriminator(self, images, labels, latents, fake_labels):
        """Updates the discriminator on one batch of real and of fake images.

        Args:
            images: `[batch, size, size, channels]`, float32 in [-1, 1].
            labels: `[batch]`, int32.
            latents: Of the fake images, `[batch, latent_dim]`, float32.
            fake_labels: `[batch]`, int32.

        Returns:
            Dict of scalars, float32.
        """
        fakes = self.generator(latents, fake_labels, training=True)
        gradients, scalars = accumulate(
            self._discriminator_gradients,
            self.discriminator,
            (images, labels, fakes, fake_labels),
            self.accumulation,
            _D_MEANS,
        )
        scalars["real_std"] = _batch_std(images)
        scalars["fake_std"] = _batch_std(fakes)
        scalars["d_gradient_norm"] = global_norm(gradients, self.d_optimizer)
        variables = self.discriminator.trainable_variables
        self.d_optimizer.apply(gradients, variables)
        return scalars

    def _discriminator_gradients(self, images, labels, fakes, fake_labels):
        with tf.GradientTape() as tape:
            real_logits, fake_logits = self._discriminate(
                images, labels, fakes, fake_labels
            )
            loss = hinge_discriminator_loss(real_logits, fake_logits)
            scaled_loss = self.d_optimizer.scale_loss(loss)
        variables = self.discriminator.trainable_variables
        return dense_gradients(tape, scaled_loss, variables), {
            "d_loss": loss,
            "real_logits": tf.reduce_mean(real_logits),
            "fake_logits": tf.reduce_mean(fake_logits),
            "real_accuracy": _mean(real_logits > 0),
            "fake_accuracy": _mean(fake_logits < 0),
        }

    def _discriminate(self, images, labels, fakes, fake_labels):
        """Returns logits of real and of fake images; moves each `u` once."""
        if self.joint_batch:
            logits = self.discriminator(
                tf.concat([images, fakes], 0),
                tf.concat([labels, fake_labels], 0),
                training=True,
            )
            return tf.split(logits, 2)
        # In this order both start their power iteration from the same u.
        fake_logits = self.discriminator(fakes, fake_labels, training=False)
        return self.discriminator(images, labels, training=True), fake_logits

    def update_generator(self, latents, labels):
        """Updates the generator on one batch of fake images.

        Args:
            latents: `[batch, latent_dim]`, float32.
            labels: `[batch]`, int32.

        Returns:
            Dict of scalars, float32.
        """
        gradients, scalars = accumulate(
            self._generator_gradients,
            self.generator,
            (latents, labels),
            self.accumulation,
            ("g_loss",),
        )
        scalars["g_gradient_norm"] = global_norm(gradients, self.g_optimizer)
        self.g_optimizer.apply(gradients, self.generator.trainable_variables)
        return scalars

    def _generator_gradients(self, latents, labels):
        with tf.GradientTape() as tape:
            fakes = self.generator(latents, labels, training=True)
            logits = self.discriminator(fakes, labels, training=False)
            loss = hinge_generator_loss(logits)
            scaled_loss = self.g_optimizer.scale_loss(loss)
        variables = self.generator.trainable_variables
        return dense_gradients(tape, scaled_loss, variables), {"g_loss": loss}

    def update_ema(self):
        """Moves the average of the generator by one step."""
        decay = tf.where(self.step < self.ema_start, 0.0, self.ema_decay)
        update_average(self.ema_generator, self.generator, decay)

    def trackables(self):
        """Returns all state by name: what a checkpoint has to hold."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema_generator": self.ema_generator,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
            "step": self.step,
        }

    def draw_latents(self, batch_size, seed):
        """Returns latents and labels for the generator, see `draw_latents`."""
        network = self.generator
        return draw_latents(
            batch_size, network.latent_dim, network.num_classes, seed
        )


def _mean(condition):
    return tf.reduce_mean(tf.cast(condition, tf.float32))


def _batch_std(images):
    """Mean over pixels of the standard deviation over the batch."""
    return tf.reduce_mean(tf.math.reduce_std(images, axis=0))
