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
    "skip_bias": ("build_generator",),
    "product_gradient": ("build_generator", "build_discriminator"),
    "integer_relu": ("build_generator", "build_discriminator"),
    "fused_elementwise": ("build_generator", "build_discriminator"),
    "fused_adam": ("make_optimizers",),
}


@dataclasses.dataclass(frozen=True)
class Update:
    """One part of a training step.

    Attributes:
        name: Name, as "discriminator update".
        times: How often it runs in a step.
        costs: Costs of its operations.
        gradient_bytes: Size of the gradients that devices have to add up.
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


@dataclasses.dataclass(frozen=True)
class Step:
    """A GAN that has made its first step, and the calls to time.

    Attributes:
        gan: The `GAN`, with the networks and optimisers of the config.
        calls: "D update", "G update" and "step", by name, on a constant batch.
        updates: The parts of a step, as from `step_updates`.
        d_steps: Discriminator updates in a step.
        batch_size: Images in a batch.
        trace_seconds: To trace the two updates.
        run_seconds: From there to the result of the first step.
        first_step_seconds: All of it, including building the networks.
    """

    gan: GAN
    calls: dict[str, Callable[[], object]]
    updates: list[Update]
    d_steps: int
    batch_size: int
    trace_seconds: float
    run_seconds: float
    first_step_seconds: float

    def work(self, call: str) -> tuple[int, int]:
        """Returns the images, real or fake, and the FLOPs of a call."""
        d_update, g_update, _ = self.updates
        if call == "D update":
            return self.batch_size, d_update.flops
        if call == "G update":
            return self.batch_size, g_update.flops
        flops = sum(update.times * update.flops for update in self.updates)
        return self.d_steps * self.batch_size, flops

    @property
    def costs(self) -> list[OpCost]:
        """Costs of all operations of a step."""
        return [
            c for update in self.updates for c in update.times * update.costs
        ]


def make_config_gan(**changes) -> GAN:
    """Makes the `GAN` that training makes of the parsed config.

    Args:
        **changes: Arguments of `make_gan` that differ from the config's.
    """
    settings = train_settings()
    tf.config.experimental.enable_tensor_float_32_execution(
        settings.pop("tensor_float_32")
    )
    if settings.pop("deterministic"):
        tf.config.experimental.enable_op_determinism()
    return make_gan(**settings | changes)


def bind_rewrites(chosen: Collection[str]) -> None:
    """Binds the switches of the `chosen` rewrites to True, others to False."""
    with gin.unlock_config():
        for name, functions in REWRITES.items():
            for function in functions:
                gin.bind_parameter(f"{function}.{name}", name in chosen)


def make_step(batch_size: int) -> Step:
    """Builds what training with the parsed config builds and runs one step.

    Args:
        batch_size: Images in a batch.
    """
    started = time.perf_counter()
    gan = make_config_gan()
    d_steps = train_settings()["d_steps"]
    images, labels = constant_batch(gan, d_steps, batch_size)
    real = images[0], labels[0], [0, 0]
    tracing = time.perf_counter()
    functions = trace_updates(gan, batch_size)
    traced = time.perf_counter()
    step = functools.partial(gan.train_steps, [(images, labels)])
    step()
    wait()
    finished = time.perf_counter()
    return Step(
        gan,
        {
            "D update": functools.partial(
                gan.update_discriminator, *gan.d_inputs(*real)
            ),
            "G update": functools.partial(
                gan.update_generator, *gan.g_inputs(*real)
            ),
            "step": step,
        },
        step_updates(gan, functions, d_steps),
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


def trace_updates(gan: GAN, batch_size: int) -> list:
    """Returns the concrete functions of both updates of a `GAN`, without a run.

    Args:
        gan: The `GAN`.
        batch_size: Images in a batch.
    """
    images = tf.zeros([batch_size, *gan.discriminator.image_shape])
    real = images, tf.zeros([batch_size], tf.int32), [0, 0]
    return [
        gan.update_discriminator.get_concrete_function(*gan.d_inputs(*real)),
        gan.update_generator.get_concrete_function(*gan.g_inputs(*real)),
    ]


def step_updates(gan: GAN, functions, d_steps: int) -> list[Update]:
    """Returns the parts of a step, from what `trace_updates` returned.

    Args:
        gan: The `GAN`.
        functions: Its traced functions.
        d_steps: Discriminator updates in a step.
    """
    d_gradients, g_gradients = (
        variable_bytes(network.trainable_variables)
        for network in (gan.discriminator, gan.generator)
    )
    average = tf.function(gan.update_ema, autograph=False)
    average = average.get_concrete_function()
    d_update, g_update, ema_update = map(graph_costs, (*functions, average))
    return [
        Update("discriminator update", d_steps, d_update, d_gradients),
        Update("generator update", 1, g_update, g_gradients),
        Update("moving average", 1, ema_update, 0),
    ]


def step_peak(functions) -> int:
    """Returns the bytes that the hungriest of the traced functions adds."""
    return max(map(peak_bytes, functions))
