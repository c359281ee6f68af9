"""Adam for both networks, each with its own learning rate (TTUR)."""

import gin
import keras

from sagan.config import Fraction, NonNegative, checked


class Adam(keras.optimizers.Adam):
    """Adam for gradients that are already averaged over the replicas.

    Keras' own sums gradients over replicas only after each replica has scaled,
    clipped and checked its own, so a gradient that is not finite on one
    replica would be skipped there and applied elsewhere.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for gradient, variable in zip(grads, trainable_variables, strict=True):
            self.update_step(gradient, variable.value, learning_rate)


@gin.configurable(denylist=["mixed_float16"])
@checked
def make_optimizers(
    mixed_float16: bool,
    g_learning_rate: NonNegative = 1e-4,
    d_learning_rate: NonNegative = 4e-4,
    g_beta_1: Fraction = 0.0,
    d_beta_1: Fraction = 0.0,
    g_beta_2: Fraction = 0.999,
    d_beta_2: Fraction = 0.999,
    epsilon: NonNegative = 1e-8,
) -> tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]:
    """Makes the optimisers of the generator and of the discriminator.

    Defaults are the released code's; the paper's text has beta_2 = 0.9.

    Args:
        mixed_float16: Whether each optimiser scales its loss dynamically, so
            that float16 gradients stay in range, and skips updates whose
            gradients are not finite.
        g_learning_rate: Learning rate of the generator.
        d_learning_rate: Learning rate of the discriminator.
        g_beta_1: Decay of the generator's first moment.
        d_beta_1: Decay of the discriminator's first moment.
        g_beta_2: Decay of the generator's second moment.
        d_beta_2: Decay of the discriminator's second moment.
        epsilon: Added to the denominator of both.

    Raises:
        ValueError: If a value is out of range.

    Source: Zhang et al. (2019), arXiv:1805.08318, section 4; Heusel et al.
    (2017), arXiv:1706.08500 for the two rates.
    """
    optimizers = (
        Adam(g_learning_rate, g_beta_1, g_beta_2, epsilon, name="adam"),
        Adam(d_learning_rate, d_beta_1, d_beta_2, epsilon, name="adam"),
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
