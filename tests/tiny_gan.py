"""A GAN small enough to test with, and batches for it."""

import keras
import numpy as np
import tensorflow as tf

from sagan.discriminator import build_discriminator
from sagan.gan import GAN
from sagan.generator import build_generator
from sagan.optimizers import make_optimizers

SETTINGS = {
    "image_size": 32,
    "base_channels": 2,
    "num_classes": 3,
    "attention_resolutions": (16,),
    "precision": "float32",
}


def make_generator(**network):
    """Returns the generator alone."""
    return build_generator(latent_dim=8, **SETTINGS | network)


def make_gan(
    seed=0,
    ema_decay=0.9999,
    ema_start=0,
    jit_compile=False,
    joint_batch=True,
    accumulation=1,
    batch_norm="per_replica",
    class_spectral_norm=False,
    objective=None,
    **network,
):
    """Returns a GAN for 32x32 images; always with the same weights."""
    keras.utils.set_random_seed(7)
    settings = SETTINGS | network
    own = network | {
        "batch_norm": batch_norm,
        "class_spectral_norm": class_spectral_norm,
    }
    return GAN(
        make_generator(**own),
        build_discriminator(**settings),
        make_generator(**own),
        *make_optimizers(settings["precision"] == "mixed_float16"),
        seed=seed,
        ema_decay=ema_decay,
        ema_start=ema_start,
        jit_compile=jit_compile,
        joint_batch=joint_batch,
        accumulation=accumulation,
        objective=objective,
    )


def make_batch(d_steps=1, batch=4, seed=0, size=32):
    """Returns noise images `[d_steps, batch, size, size, 3]` and labels."""
    generator = np.random.default_rng(seed)
    images = generator.uniform(-1, 1, (d_steps, batch, size, size, 3))
    labels = generator.integers(0, 3, (d_steps, batch))
    return tf.constant(images, tf.float32), tf.constant(labels, tf.int32)


def values(variables):
    return [variable.numpy() for variable in variables]


def reset(gan, state):
    """Assigns all state of a GAN: `values` of its variables."""
    for variable, value in zip(gan.variables(), state, strict=True):
        variable.assign(value)


def open_gates(gan, gamma=0.5):
    """Lets attention take part: at its initial gamma of zero it is none."""
    for network in (gan.generator, gan.discriminator):
        for attention in network.attentions:
            if hasattr(attention, "gamma"):
                attention.gamma.assign(gamma)
