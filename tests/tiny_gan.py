"""A GAN small enough to test with, and batches for it."""

import keras
import numpy as np
import tensorflow as tf

from sagan.gan import GAN
from sagan.networks import build_discriminator, build_generator
from sagan.optimizers import make_optimizers


def make_gan(seed=0, precision="float32", num_classes=3, **kwargs):
    """Returns a GAN for 32x32 images; always with the same weights."""
    keras.utils.set_random_seed(7)
    settings = {
        "image_size": 32,
        "base_channels": 2,
        "num_classes": num_classes,
        "attention_resolutions": (16,),
        "precision": precision,
    }
    return GAN(
        build_generator(latent_dim=8, **settings),
        build_discriminator(**settings),
        build_generator(latent_dim=8, **settings),
        *make_optimizers(precision == "mixed_float16"),
        seed=seed,
        **kwargs,
    )


def make_batch(d_steps=1, batch=4, seed=0):
    """Returns noise images `[d_steps, batch, 32, 32, 3]` and labels."""
    generator = np.random.default_rng(seed)
    images = generator.uniform(-1, 1, (d_steps, batch, 32, 32, 3))
    labels = generator.integers(0, 3, (d_steps, batch))
    return tf.constant(images, tf.float32), tf.constant(labels, tf.int32)
