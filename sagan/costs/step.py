"""The graphs of one training step, and what they cost."""

import dataclasses

import tensorflow as tf

from sagan.benchmarks.graph_cost import OpCost, graph_costs
from sagan.costs.memory import peak_bytes, variable_bytes


@dataclasses.dataclass(frozen=True)
class Update:
    """One part of a training step.

    Attributes:
        name: As "discriminator update".
        times: How often it runs in a step.
        costs: Of its operations.
        gradient_bytes: That devices have to add up; 0 without gradients.
    """

    name: str
    times: int
    costs: list[OpCost]
    gradient_bytes: int

    @property
    def flops(self) -> int:
        return sum(cost.flops for cost in self.costs)

    @property
    def bytes(self) -> int:
        return sum(cost.bytes for cost in self.costs)


def trace_step(gan, batch_size: int) -> list:
    """Returns the concrete functions of a step of a `GAN`.

    Those of the discriminator update, the generator update and the moving
    average, traced for `batch_size` images and never run.
    """
    labels = tf.TensorSpec([batch_size], tf.int32)
    latents = tf.TensorSpec([batch_size, gan.generator.latent_dim])
    images = tf.TensorSpec([batch_size, *gan.discriminator.image_shape])
    return [
        tf.function(function).get_concrete_function(*specs)
        for function, specs in (
            (gan.update_discriminator, (images, labels, latents, labels)),
            (gan.update_generator, (latents, labels)),
            (gan.update_ema, ()),
        )
    ]


def step_updates(gan, functions, d_steps: int) -> list[Update]:
    """Returns the parts of a step, of what `trace_step` returned.

    Args:
        gan: The `GAN`.
        functions: Its traced functions.
        d_steps: Discriminator updates in a step.
    """
    d_gradients, g_gradients = (
        variable_bytes(network.trainable_variables)
        for network in (gan.discriminator, gan.generator)
    )
    d_update, g_update, ema_update = map(graph_costs, functions)
    return [
        Update("discriminator update", d_steps, d_update, d_gradients),
        Update("generator update", 1, g_update, g_gradients),
        Update("moving average", 1, ema_update, 0),
    ]


def step_peak(functions) -> int:
    """Returns the bytes that the hungriest of the traced functions adds."""
    return max(map(peak_bytes, functions))
