"""The adversarial game: both networks, both optimisers, one training step."""

import functools

import tensorflow as tf

from sagan.distributed.replicas import (
    mean_over_replicas,
    num_replicas,
    replica_slice,
)
from sagan.gradients import global_norm, gradients_of
from sagan.latents import draw_latents, fold_in
from sagan.layers.batch_norm import batch_norms
from sagan.layers.spectral_norm import spectral_layers
from sagan.objective.augmentation import flip_and_shift
from sagan.objective.objective import Objective, add_terms


class GAN:
    """Trains a generator and a discriminator against each other.

    One step is `d_steps` discriminator updates, each on fresh real images and
    fresh latents, then one generator update, then the moving average of the
    generator. Latents and labels are a function of `seed`, the step and the
    position in the global batch alone, so that a resumed run draws the same
    ones, on any number of replicas.

    Made in the scope of a `tf.distribute` strategy, a step runs on its
    replicas: gradients, scalars and the moving moments of batch norm are
    averaged over them, and everything else follows, so that all state is the
    same on all of them after a step.

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
        seed: Seed for latents and labels.
        ema_decay: Decay of the moving average, in `[0, 1)`.
        ema_start: Step until which the average follows the generator.
        jit_compile: Whether XLA compiles the updates.
        joint_batch: Whether real and fake images pass through the
            discriminator in one call; if not, in two, with the same kernels.
        accumulation: Micro-batches of an update, see `gradients_of`. It changes
            only the batch norm of generator updates. The images that a
            discriminator update takes are generated at once, which limits what
            it saves.
        class_counts: Number of real images in each class, to draw labels of
            generated images in proportion; None for uniform labels.
        objective: What the networks minimise; None for the hinge loss. With a
            loss of pairs, generated images have the labels of the real ones
            they are compared with, as in the code of R3GAN; a generator update
            is on the real images of the discriminator update before it.

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
        class_counts=None,
        objective=None,
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
        self.class_counts = class_counts
        self.objective = objective or Objective()
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # Moving averages of the logits of real and of generated images.
        self.anchors = None
        if self.objective.lecam:
            self.anchors = tf.Variable([0.0, 0.0], trainable=False)
        # Restoring a checkpoint fills only variables that exist.
        g_optimizer.build(generator.trainable_variables)
        d_optimizer.build(discriminator.trainable_variables)
        ema_generator.trainable = False
        ema_generator.set_weights(generator.get_weights())
        self.strategy = tf.distribute.get_strategy()
        self._compile(jit_compile)

    def _compile(self, jit_compile):
        """Compiles the methods that a step calls.

        There are some within that of the step: d_steps updates are traced
        once, and latents are drawn outside of XLA, which turns the same random
        bits into other numbers. On several replicas they end where the
        replicas meet.
        """
        # No Python here depends on values. AutoGraph would look for that in
        # all functions below, for a third of the time of tracing.
        traced = functools.partial(tf.function, autograph=False)
        compiled = functools.partial(traced, jit_compile=jit_compile)
        self.train_steps = traced(self.train_steps)
        if self.strategy.num_replicas_in_sync == 1:
            self.update_discriminator = compiled(self.update_discriminator)
            self.update_generator = compiled(self.update_generator)
            self.train_step = traced(self.train_step)
        elif not any(n.synchronized for n in batch_norms(self.generator)):
            self.d_gradients = compiled(self.d_gradients)
            self.g_gradients = compiled(self.g_gradients)

    def train_steps(self, batches):
        """Runs several training steps without a return to Python.

        Args:
            batches: List of the images and labels of each step.

        Returns:
            Dict of scalars, `[steps]`, float32.
        """

        def run(batches):
            scalars = [self.train_step(*batch) for batch in batches]
            return tf.nest.map_structure(lambda *x: tf.stack(x), *scalars)

        scalars = self.strategy.run(run, args=(batches,))
        return {
            # They are the same on all replicas.
            name: self.strategy.experimental_local_results(values)[0]
            for name, values in scalars.items()
        }

    def train_step(self, images, labels):
        """Runs one training step.

        Args:
            images: Real images, `[d_steps, batch, size, size, channels]`,
                float32 in [-1, 1]; with several replicas the part of one.
            labels: Their labels, `[d_steps, batch]`, int32.

        Returns:
            Dict of scalars, float32; those of the discriminator are from its
            last update.
        """
        d_steps = images.shape[0]
        seed = fold_in([self.seed, 0], self.step)
        for i in range(d_steps):
            real = images[i], labels[i]
            inputs = self.d_inputs(*real, fold_in(seed, i))
            scalars = self.update_discriminator(*inputs)
        inputs = self.g_inputs(*real, fold_in(seed, d_steps))
        scalars |= self.update_generator(*inputs)
        scalars = self._average(scalars)
        self.update_ema()
        self.step.assign_add(1)
        return scalars

    def update_discriminator(
        self, images, labels, latents, fake_labels, noise=None
    ):
        """Updates the discriminator on one batch of real and of fake images.

        Args:
            images: `[batch, size, size, channels]`, float32 in [-1, 1].
            labels: `[batch]`, int32.
            latents: Latents of the fake images, `[batch, latent_dim]`, float32.
            fake_labels: `[batch]`, int32.
            noise: What the objective draws, `[batch, ...]`, float32, or None.

        Returns:
            Dict of scalars, float32, and of the pixels' moments.
        """
        gradients, scalars = self.d_gradients(
            images, labels, latents, fake_labels, noise
        )
        if self.objective.lecam:
            means = scalars["real_logits"], scalars["fake_logits"]
            self.objective.move_anchors(
                self.anchors, mean_over_replicas(means), self.step
            )
        norm = apply_gradients(gradients, self.discriminator, self.d_optimizer)
        return scalars | {"d_gradient_norm": norm}

    def d_gradients(self, images, labels, latents, fake_labels, noise=None):
        """Returns gradients of the discriminator's loss, and scalars.

        Moves the `u` of both networks, and the generator's moving moments.
        Arguments and scalars are those of `update_discriminator`.
        """
        fakes = self.generator(latents, fake_labels, training=True)
        gradients, scalars = gradients_of(
            self._d_loss,
            self.discriminator,
            (images, labels, fakes, fake_labels, noise),
            self.d_optimizer.scale_loss,
            self.accumulation,
        )
        scalars["real_moments"] = pixel_moments(images)
        scalars["fake_moments"] = pixel_moments(fakes)
        return gradients, scalars

    def _d_loss(self, images, labels, fakes, fake_labels, noise):
        """Returns the discriminator's loss on a batch, and its scalars."""
        objective, network = self.objective, self.discriminator
        # Passes that leave `u` as it is come before the one that moves it,
        # so that all have the same kernels.
        real, fake = (images, labels), (fakes, fake_labels)
        terms = objective.gradient_penalties(
            network, real, fake, noise, self.step
        )
        images, fakes = (
            objective.augment(each, noise, i)
            for i, each in enumerate((images, fakes))
        )
        if objective.consistent:
            moved = (
                flip_and_shift(each, noise[:, i])
                for i, each in enumerate((images, fakes))
            )
            others = self._discriminate(
                *moved, labels, fake_labels, training=False
            )
        logits = self._discriminate(images, fakes, labels, fake_labels)
        if objective.consistent:
            terms |= objective.consistencies(logits, others)
        terms |= objective.lecams(*logits, self.anchors, self.step)
        terms |= objective.orthogonalities(network, "d")
        real_logits, fake_logits = logits
        loss = objective.losses.discriminator(real_logits, fake_logits)
        scalars = {
            "d_loss": loss,
            "real_logits": tf.reduce_mean(real_logits),
            "fake_logits": tf.reduce_mean(fake_logits),
            "real_accuracy": _mean(real_logits > 0),
            "fake_accuracy": _mean(fake_logits < 0),
        }
        return add_terms(loss, terms, scalars)

    def _discriminate(self, images, fakes, labels, fake_labels, training=True):
        """Returns logits of real and of fake images.

        In training, each `u` moves once.
        """
        if self.joint_batch:
            logits = self.discriminator(
                tf.concat([images, fakes], 0),
                tf.concat([labels, fake_labels], 0),
                training=training,
            )
            return tf.split(logits, 2)
        # In this order both start their power iteration from the same u.
        fake_logits = self.discriminator(fakes, fake_labels, training=False)
        logits = self.discriminator(images, labels, training=training)
        return logits, fake_logits

    def update_generator(self, latents, labels, noise=None, images=None):
        """Updates the generator on one batch of fake images.

        Args:
            latents: `[batch, latent_dim]`, float32.
            labels: `[batch]`, int32.
            noise: What the objective draws, `[batch, ...]`, float32, or None.
            images: Real images of these labels, for a loss of pairs.

        Returns:
            Dict of scalars, float32.
        """
        gradients, scalars = self.g_gradients(latents, labels, noise, images)
        norm = apply_gradients(gradients, self.generator, self.g_optimizer)
        return scalars | {"g_gradient_norm": norm}

    def g_gradients(self, latents, labels, noise=None, images=None):
        """Returns gradients of the generator's loss, and scalars.

        Moves the generator's `u` and moving moments. Arguments and scalars are
        those of `update_generator`.
        """
        objective = self.objective

        def loss(latents, labels, noise, images):
            fakes = self.generator(latents, labels, training=True)
            seen = [objective.augment(fakes, noise, 1)]
            if objective.losses.paired:
                seen.append(objective.augment(images, noise, 0))
            logits = [
                self.discriminator(each, labels, training=False)
                for each in seen
            ]
            loss = objective.losses.generator(*logits)
            terms = objective.orthogonalities(self.generator, "g")
            return add_terms(loss, terms, {"g_loss": loss})

        return gradients_of(
            loss,
            self.generator,
            (latents, labels, noise, images),
            self.g_optimizer.scale_loss,
            self.accumulation,
        )

    def _average(self, scalars):
        """Averages scalars and moving moments over the replicas.

        A moving moment that is averaged after its moves is that of averaged
        moments, since a move is linear.
        """
        moments = [
            moment
            for layer in batch_norms(self.generator)
            for moment in (layer.moving_mean, layer.moving_variance)
        ]
        values = [tf.convert_to_tensor(moment) for moment in moments]
        scalars, values = mean_over_replicas((scalars, values))
        if num_replicas() > 1:
            for moment, value in zip(moments, values, strict=True):
                moment.assign(value)
        for name in ("real", "fake"):
            scalars[f"{name}_std"] = mean_std(scalars.pop(f"{name}_moments"))
        return scalars

    def update_ema(self):
        """Moves the average of the generator by one step."""
        decay = tf.where(self.step < self.ema_start, 0.0, self.ema_decay)
        update_average(self.ema_generator, self.generator, decay)

    def trackables(self):
        """Returns all state by name: what a checkpoint has to hold."""
        parts = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema_generator": self.ema_generator,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
            "step": self.step,
        }
        if self.objective.lecam:
            parts["anchors"] = self.anchors
        return parts

    def variables(self):
        """Returns the variables of all state."""
        parts = self.trackables()
        own = [parts.pop(name) for name in ("step", "anchors") if name in parts]
        variables = [v for part in parts.values() for v in part.variables]
        return [*(variable.value for variable in variables), *own]

    def draw_latents(self, batch_size, seed):
        """Returns latents and labels for the generator, see `draw_latents`."""
        network = self.generator
        return draw_latents(
            batch_size,
            network.latent_dim,
            network.num_classes,
            seed,
            self.class_counts,
        )

    def d_inputs(self, images, labels, seed):
        """Returns arguments of `update_discriminator`, drawn from a seed.

        Args:
            images: Real images of this replica.
            labels: Their labels.
            seed: Seed of the global batch, `[2]`, integer.
        """
        return images, labels, *self._draw_own(labels, seed)

    def g_inputs(self, images, labels, seed):
        """Returns arguments of `update_generator`, likewise."""
        drawn = self._draw_own(labels, seed)
        return *drawn, images if self.objective.losses.paired else None

    def _draw_own(self, labels, seed):
        """Returns this replica's part of what the global batch draws.

        Args:
            labels: Labels of the real images to pair the generated ones with.
            seed: Seed, `[2]`, integer.
        """
        size = labels.shape[0]
        total = size * num_replicas()
        drawn = self.draw_latents(total, seed)
        latents, fake_labels = replica_slice(drawn, size)
        if self.objective.losses.paired:
            fake_labels = labels
        # After the streams of latents and labels.
        noise = self.objective.draw(total, fold_in(seed, 2))
        if noise is not None:
            noise = replica_slice(noise, size)
        return latents, fake_labels, noise


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


def apply_gradients(gradients, network, optimizer) -> tf.Tensor:
    """Applies the mean over replicas; returns its global norm."""
    gradients = mean_over_replicas(gradients)
    optimizer.apply(gradients, network.trainable_variables)
    return global_norm(gradients, optimizer)


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
