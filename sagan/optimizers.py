"""Adam for both networks, each with its own learning rate (TTUR)."""

from functools import partial

import gin
import keras
import tensorflow as tf
from absl import logging

from sagan.config import Fraction, Natural, NonNegative, checked


class Adam(keras.optimizers.Adam):
    """Adam for gradients that are already averaged over the replicas.

    Keras' own sums gradients over replicas only after each replica has scaled,
    clipped and checked its own, so a gradient that is not finite on one
    replica would be skipped there and applied elsewhere.

    Args:
        *args: As for Keras' `Adam`, like the other keyword arguments.
        fused: Whether each variable is updated by TensorFlow's one kernel for
            Adam, which reads and writes its numbers once, instead of by
            Keras' dozen operations. The state is the same.
    """

    def __init__(self, *args, fused=True, **kwargs):
        super().__init__(*args, **kwargs)
        self.fused = fused

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable.value, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        if not self.fused:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate that rises linearly, stays and falls linearly to zero.

    Args:
        rate: Learning rate in between.
        warmup_steps: Training steps of the rise; the first has
            `rate / warmup_steps`.
        decay_start: Last training step before the fall.
        decay_end: Training step at which it ends; 0 for no fall.
        updates_per_step: Updates of the optimiser in a training step.

    Source: Goyal et al. (2017), arXiv:1706.02677, section 2.2 for the rise;
    the fall is `linear_decay` of mimicry's scheduler.
    """

    def __init__(
        self, rate, warmup_steps, decay_start, decay_end, updates_per_step
    ):
        self.rate = rate
        self.warmup_steps = warmup_steps
        self.decay_start = decay_start
        self.decay_end = decay_end
        self.updates_per_step = updates_per_step

    def __call__(self, updates):
        step = tf.cast(updates // self.updates_per_step, tf.float32)
        rate = tf.constant(self.rate, tf.float32)
        if self.warmup_steps:
            rate *= tf.minimum(1.0, (step + 1.0) / self.warmup_steps)
        if self.decay_end:
            steps = self.decay_end - self.decay_start
            left = (self.decay_end - step) / steps
            rate *= tf.clip_by_value(left, 0.0, 1.0)
        return rate


@gin.configurable(denylist=["mixed_float16", "d_steps"])
@checked
def make_optimizers(
    mixed_float16: bool,
    d_steps: int = 1,
    g_learning_rate: NonNegative = 1e-4,
    d_learning_rate: NonNegative = 4e-4,
    g_beta_1: Fraction = 0.0,
    d_beta_1: Fraction = 0.0,
    g_beta_2: Fraction = 0.999,
    d_beta_2: Fraction = 0.999,
    epsilon: NonNegative = 1e-8,
    warmup_steps: Natural = 0,
    decay_start: Natural = 0,
    decay_end: Natural = 0,
    fused_adam: bool = True,
) -> tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]:
    """Makes the optimisers of the generator and of the discriminator.

    Defaults are the released code's; the paper's text has beta_2 = 0.9.

    Args:
        mixed_float16: Whether each optimiser scales its loss dynamically, so
            that float16 gradients stay in range, and skips updates whose
            gradients are not finite.
        d_steps: Discriminator updates in a training step.
        g_learning_rate: Learning rate of the generator.
        d_learning_rate: Learning rate of the discriminator.
        g_beta_1: Decay of the generator's first moment.
        d_beta_1: Decay of the discriminator's first moment.
        g_beta_2: Decay of the generator's second moment.
        d_beta_2: Decay of the discriminator's second moment.
        epsilon: Added to the denominator of both.
        warmup_steps: Training steps in which both rates rise linearly; 0 for
            none. Skipped updates do not count.
        decay_start: Training step from which both fall linearly.
        decay_end: Training step at which they reach zero; 0 for no fall.
        fused_adam: Whether a variable is updated by one kernel.

    Raises:
        ValueError: If a value is out of range, or the fall ends before it
            starts.

    Source: Zhang et al. (2019), arXiv:1805.08318, section 4; Heusel et al.
    (2017), arXiv:1706.08500 for the two rates.
    """
    if (decay_start or decay_end) and decay_end <= decay_start:
        raise ValueError(
            f"make_optimizers.decay_end is {decay_end}: expected a step after "
            f"make_optimizers.decay_start = {decay_start}."
        )
    if decay_end and warmup_steps > max(1, decay_start):
        logging.warning(
            "The learning rates do not reach what is bound: they rise for "
            "make_optimizers.warmup_steps = %d steps, and fall from "
            "make_optimizers.decay_start = %d on.",
            *(warmup_steps, decay_start),
        )
    if warmup_steps or decay_end:
        steps = warmup_steps, decay_start, decay_end
        g_learning_rate = Schedule(g_learning_rate, *steps, 1)
        d_learning_rate = Schedule(d_learning_rate, *steps, d_steps)
    adam = partial(Adam, epsilon=epsilon, fused=fused_adam, name="adam")
    optimizers = (
        adam(g_learning_rate, g_beta_1, g_beta_2),
        adam(d_learning_rate, d_beta_1, d_beta_2),
    )
    if not mixed_float16:
        return optimizers
    return tuple(
        keras.optimizers.LossScaleOptimizer(optimizer)
        for optimizer in optimizers
    )


def scales_loss(optimizer: keras.optimizers.Optimizer) -> bool:
    """Returns whether an optimiser scales its loss dynamically."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def loss_scale(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the factor by which an optimiser currently scales its loss."""
    if scales_loss(optimizer):
        return float(optimizer.dynamic_scale.numpy())
    return 1.0


def updates_applied(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns the number of updates applied, not counting skipped ones."""
    if scales_loss(optimizer):
        optimizer = optimizer.inner_optimizer
    return int(optimizer.iterations.numpy())
