"""Scalars about a GAN in training besides its losses."""

from sagan.layers.attention import attention_blocks
from sagan.layers.spectral_norm import kernel_layers
from sagan.optimizers import loss_scale, updates_applied
from sagan.runs.machine import peak_memory_bytes


def diagnose(gan, d_steps: int) -> dict[str, float]:
    """Returns scalars about the state of networks and optimisers.

    Args:
        gan: The `GAN`.
        d_steps: Discriminator updates per step, to count the skipped ones.

    Returns:
        By name: the gate `gamma` of each attention block; the largest singular
        value (`sigma`) among the raw kernels of each type of layer; learning
        rates, loss scales and skipped updates; peak memory in GB.
    """
    values = {"peak_memory_gb": peak_memory_bytes() / 1e9}
    for network in (gan.generator, gan.discriminator):
        for name, block in attention_blocks(network).items():
            values[f"{network.name}/gamma/{name}"] = float(block.gamma.numpy())
        for layer in kernel_layers(network):
            name = f"{network.name}/sigma/{type(layer).__name__}"
            sigma = float(layer.largest_singular_value())
            values[name] = max(sigma, values.get(name, 0.0))
    step = int(gan.step.numpy())
    for letter, optimizer, updates in (
        ("g", gan.g_optimizer, step),
        ("d", gan.d_optimizer, step * d_steps),
    ):
        rate = optimizer.learning_rate.numpy()
        values[f"{letter}_learning_rate"] = float(rate)
        values[f"{letter}_loss_scale"] = loss_scale(optimizer)
        values[f"{letter}_skipped_updates"] = updates - updates_applied(
            optimizer
        )
    return values
