"""Times a step of several replicas, and its all-reduces alone."""

import statistics
import time

import tensorflow as tf

from sagan.distributed.replicas import mean_over_replicas
from sagan.gan import GAN
from sagan.profiling.step import constant_batch


def measure_step(
    strategy: tf.distribute.Strategy, gan: GAN, d_steps: int, batch_size: int,
    samples: int,
) -> dict[str, float]:  # fmt: skip
    """Times a training step, and its all-reduces by themselves.

    Args:
        strategy: The strategy in whose scope the `GAN` was made.
        gan: The `GAN`.
        d_steps: Discriminator updates in a step.
        batch_size: Images in a batch of a replica.
        samples: Samples of each, of which the median is returned.

    Returns:
        Seconds of a `step`, and of the `allreduce` of a step's gradients.
    """
    batch = constant_batch(gan, d_steps, batch_size)
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: batch
    )
    if strategy.num_replicas_in_sync == 1:
        parts = batch
    return {
        "step": _median_seconds(lambda: gan.train_steps([parts]), samples),
        "allreduce": _median_seconds(
            _all_reduces(strategy, gan, d_steps), samples
        ),
    }


def _all_reduces(strategy, gan, d_steps):
    """Returns a function that only reduces what a step reduces."""
    networks = [gan.discriminator] * d_steps + [gan.generator]

    def reduce():
        # One after the other, as in the updates.
        previous = tf.zeros([])
        for network in networks:
            values = [
                tf.zeros(variable.shape) + previous
                for variable in network.trainable_variables
            ]
            previous = 0.0 * tf.reshape(mean_over_replicas(values)[0], [-1])[0]
        return previous

    return tf.function(lambda: strategy.run(reduce), autograph=False)


def _median_seconds(call, samples):
    call()  # Traces and compiles.
    seconds = []
    for _ in range(samples):
        started = time.perf_counter()
        tf.nest.map_structure(
            lambda value: value.numpy(), tf.nest.flatten(call())[:1]
        )
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
