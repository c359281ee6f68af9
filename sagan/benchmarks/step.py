"""A whole training step, exactly as training runs it, timed and counted."""

import dataclasses
import functools
import time
from collections.abc import Callable

import gin
import tensorflow as tf

from sagan.assembly import make_gan
from sagan.benchmarks.config_values import train_settings
from sagan.benchmarks.graph_cost import OpCost, graph_costs
from sagan.benchmarks.timing import wait
from sagan.gan import GAN


@dataclasses.dataclass(frozen=True)
class Step:
    """A GAN that has made its first step, and the calls to time.

    Attributes:
        gan: With the networks and optimisers of the config.
        calls: "D update", "G update" and "step", by name, on a constant batch.
        costs: Operations of a "D update", a "G update" and a "moving
            average", by name.
        d_steps: Discriminator updates a step.
        batch_size: Images an update.
        trace_seconds: To make the graphs of the two updates.
        first_step_seconds: These, and until the first step had its result.
    """

    gan: GAN
    calls: dict[str, Callable[[], object]]
    costs: dict[str, list[OpCost]]
    d_steps: int
    batch_size: int
    trace_seconds: float
    first_step_seconds: float

    @property
    def step_costs(self) -> list[OpCost]:
        """Operations of a step, of which `d_steps` updates of D."""
        return (
            self.d_steps * self.costs["D update"]
            + self.costs["G update"]
            + self.costs["moving average"]
        )


def make_step(batch_size: int, fused_resampling: bool | None = None) -> Step:
    """Builds what training with the parsed config builds and runs one step.

    Args:
        batch_size: Images an update.
        fused_resampling: Binds that of both networks: False is the plain
            form. None leaves the config as it is.
    """
    if fused_resampling is not None:
        with gin.unlock_config():
            for network in ("generator", "discriminator"):
                name = f"build_{network}.fused_resampling"
                gin.bind_parameter(name, fused_resampling)
    settings = train_settings()
    tf.config.experimental.enable_tensor_float_32_execution(
        settings["tensor_float_32"]
    )
    gan = make_gan(
        settings["seed"],
        settings["ema_decay"],
        settings["ema_start"],
        settings["jit_compile"],
        settings["accumulation"],
    )
    d_steps = settings["d_steps"]
    images, labels = constant_batch(gan, d_steps, batch_size)
    latents, fake_labels = gan.draw_latents(batch_size, [0, 0])
    d_arguments = images[0], labels[0], latents, fake_labels
    started = time.perf_counter()
    updates = {
        "D update": gan.d_update.get_concrete_function(*d_arguments),
        "G update": gan.g_update.get_concrete_function(latents, fake_labels),
    }
    trace_seconds = time.perf_counter() - started
    average = tf.function(gan.update_ema).get_concrete_function()
    costs = {name: graph_costs(update) for name, update in updates.items()}
    costs["moving average"] = graph_costs(average)
    step = functools.partial(gan.train_steps, [(images, labels)])
    step()
    wait()
    first_step_seconds = time.perf_counter() - started
    return Step(
        gan,
        {
            "D update": functools.partial(gan.d_update, *d_arguments),
            "G update": functools.partial(gan.g_update, latents, fake_labels),
            "step": step,
        },
        costs,
        d_steps,
        batch_size,
        trace_seconds,
        first_step_seconds,
    )


def constant_batch(gan: GAN, d_steps: int, batch_size: int):
    """Returns noise images and labels, shaped as a step takes them."""
    size = (d_steps, batch_size)
    images = tf.random.stateless_uniform(
        [*size, *gan.discriminator.image_shape], [0, 0], -1.0, 1.0
    )
    labels = tf.random.stateless_uniform(
        size, [0, 1], 0, max(1, gan.discriminator.num_classes), tf.int32
    )
    return images, labels
