"""Measurements for test_replicas.py, in a process with two logical CPUs.

Logical devices can be set once per process. Prints a line of JSON.
"""

import json
import sys

import numpy as np
import tensorflow as tf
from tiny_gan import make_batch, make_gan

from sagan.cli import start_tensorflow
from sagan.objective.objective import Objective
from sagan.optimizers import updates_applied

BATCH, STEPS = 8, 3

# Loss scale that the steps start from.
SCALE = 2.0**8

# All that draws, averages or differentiates twice.
OBJECTIVE = Objective(
    loss="relativistic",
    augmentations=("color", "translation", "cutout"),
    r1=0.1,
    r2=0.1,
    penalty_every=2,
    real_consistency=0.1,
    fake_consistency=0.1,
    lecam=0.1,
    lecam_start=1,
)


def train(strategy, steps, poisoned=None, **settings):
    """Trains a GAN; returns it and the scalars of each step."""
    with strategy.scope():
        gan = make_gan(**settings)
        for optimizer in (gan.g_optimizer, gan.d_optimizer):
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            # Otherwise a gradient of rounding errors alone makes a full step.
            inner.epsilon = 1e-3
            if inner is not optimizer:
                # The initial scale may overflow by itself.
                optimizer.dynamic_scale.assign(SCALE)
    size = BATCH // strategy.num_replicas_in_sync
    scalars = []
    for step in range(steps):
        images, labels = make_batch(batch=BATCH, seed=step)

        def part(context, images=images, labels=labels, step=step):
            replica = context.replica_id_in_sync_group
            rows = slice(replica * size, (replica + 1) * size)
            own = images[:, rows]
            if poisoned == (step, replica):
                own *= np.nan
            return own, labels[:, rows]

        batch = strategy.experimental_distribute_values_from_function(part)
        if strategy.num_replicas_in_sync == 1:
            batch = images, labels
        values = gan.train_steps([batch])
        scalars.append({k: float(v[0]) for k, v in values.items()})
    return gan, scalars


def weights(gan):
    """Returns all weights of the networks, in one array."""
    networks = gan.generator, gan.discriminator, gan.ema_generator
    return np.concatenate(
        [w.ravel() for n in networks for w in n.get_weights()]
    )


def differing(gan):
    """Returns the names of variables that differ between replicas."""
    return [
        variable.name
        for variable in gan.variables()
        for copies in [[v.numpy() for v in variable.values]]
        if not all(np.array_equal(copies[0], other) for other in copies)
    ]


def compare(found, wanted):
    """Returns how a GAN and its scalars differ, and its replicas."""
    gan, scalars = found
    expected_gan, expected = wanted
    return {
        "differing": differing(gan),
        "weights": float(np.abs(weights(gan) - weights(expected_gan)).max()),
        "scalars": max(
            abs(values[name] - value) / max(1.0, abs(value))
            for values, wanted in zip(scalars, expected, strict=True)
            for name, value in wanted.items()
        ),
    }


def main():
    start_tensorflow()
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical] * 2)
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    results = {}
    settings = {"ema_decay": 0.9, "attention_resolutions": ()}
    equal = settings | {"batch_norm": "synchronized"}
    penalty = Objective(r1=0.1, penalty_every=2)
    # One step with penalties and one without. Compiled with one of them, as
    # tracing takes longer than the steps.
    compiled = train(two, 2, **equal, objective=penalty)
    tf.config.run_functions_eagerly(True)
    everything = {"class_spectral_norm": True, "objective": OBJECTIVE}
    results["graph"] = compare(
        compiled, train(one, 2, **equal, objective=penalty)
    )
    results["synchronized"] = compare(
        train(two, 2, **equal, **everything, recompute=True),
        train(one, 2, **equal, **everything),
    )
    gan, scalars = train(
        two,
        STEPS,
        **settings,
        accumulation=2,
        precision="mixed_float16",
        poisoned=(1, 1),
        num_classes=0,
    )
    results["float16"] = {
        "differing": differing(gan),
        "finite": bool(np.isfinite(weights(gan)).all()),
        "losses": [np.isfinite(v["d_loss"]).item() for v in scalars],
        "scale": float(gan.d_optimizer.dynamic_scale.numpy()),
        "initial_scale": SCALE,
        "updates": updates_applied(gan.d_optimizer),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    sys.exit(main())
