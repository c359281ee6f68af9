"""A whole training step, exactly as training runs it, timed and counted."""

import dataclasses
import functools
import time
from collections.abc import Callable, Collection

import gin
import tensorflow as tf

from sagan.config import train_settings
from sagan.gan import GAN
from sagan.profiling.flops import OpCost, graph_costs
from sagan.profiling.memory import peak_bytes, variable_bytes
from sagan.profiling.timing import wait
from sagan.training.assembly import make_gan

# The exact rewrites of docs/performance.md that have a switch, and the
# functions whose parameter of that name it is. All off is the plain form.
REWRITES = {
    "fused_resampling": ("build_generator", "build_discriminator"),
    "low_resolution_shortcut": ("build_generator", "build_discriminator"),
    "fused_norm": ("build_generator",),
    "joint_batch": ("train",),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """A GAN that has made its first step, and the calls to time.

    Attributes:
        gan: With the networks and optimisers of the config.
        calls: "D update", "G update" and "step", by name, on a constant batch.
        costs: Operations of a "D update", a "G update" and a "moving
            average".
        d_steps: Discriminator updates a step.
        batch_size: Images an update.
        trace_seconds: To make the graphs of the two updates.
        run_seconds: From there to the result of the first step.
        first_step_seconds: Of all, the networks' construction included.
    """

    gan: GAN
    calls: dict[str, Callable[[], object]]
    costs: dict[str, list[OpCost]]
    d_steps: int
    batch_size: int
    trace_seconds: float
    run_seconds: float
    first_step_seconds: float

    @property
    def step_costs(self) -> list[OpCost]:
        """Operations of a step, of which `d_steps` updates of D."""
        return (
            self.d_steps * self.costs["D update"]
            + self.costs["G update"]
            + self.costs["moving average"]
        )


def make_config_gan(**changes) -> GAN:
    """Makes the `GAN` that training makes of the parsed config.

    Args:
        **changes: Arguments of `make_gan` other than the config's.
    """
    settings = train_settings()
    tf.config.experimental.enable_tensor_float_32_execution(
        settings.pop("tensor_float_32")
    )
    if settings.pop("deterministic"):
        tf.config.experimental.enable_op_determinism()
    del settings["d_steps"]
    return make_gan(**settings | changes)


def bind_rewrites(chosen: Collection[str]) -> None:
    """Binds the switches of the `chosen` rewrites to True, others False."""
    with gin.unlock_config():
        for name, functions in REWRITES.items():
            for function in functions:
                gin.bind_parameter(f"{function}.{name}", name in chosen)


def make_step(batch_size: int) -> Step:
    """Builds what training with the parsed config builds and runs one step.

    Args:
        batch_size: Images an update.
    """
    started = time.perf_counter()
    gan = make_config_gan()
    d_steps = train_settings()["d_steps"]
    images, labels = constant_batch(gan, d_steps, batch_size)
    latents, fake_labels = gan.draw_latents(batch_size, [0, 0])
    d_arguments = images[0], labels[0], latents, fake_labels
    tracing = time.perf_counter()
    updates = {
        "D update": gan.update_discriminator.get_concrete_function(
            *d_arguments
        ),
        "G update": gan.update_generator.get_concrete_function(
            latents, fake_labels
        ),
    }
    traced = time.perf_counter()
    step = functools.partial(gan.train_steps, [(images, labels)])
    step()
    wait()
    finished = time.perf_counter()
    updates["moving average"] = tf.function(
        gan.update_ema
    ).get_concrete_function()
    costs = {name: graph_costs(update) for name, update in updates.items()}
    return Step(
        gan,
        {
            "D update": functools.partial(
                gan.update_discriminator, *d_arguments
            ),
            "G update": functools.partial(
                gan.update_generator, latents, fake_labels
            ),
            "step": step,
        },
        costs,
        d_steps,
        batch_size,
        trace_seconds=traced - tracing,
        run_seconds=finished - traced,
        first_step_seconds=finished - started,
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
        # Untraced ones, whose operations lie in one graph.
        tf.function(
            getattr(function, "python_function", function)
        ).get_concrete_function(*specs)
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
