"""Latents and labels, drawn from a seed, and the images made of them."""

import math
from typing import Literal

import numpy as np
import tensorflow as tf

# Distribution of the labels of generated images.
Labels = Literal["uniform", "data"]
# A larger fraction of generated images in another class gives a warning.
IMBALANCE = 0.1
# Explicit, since the default differs between devices.
_ALG = "philox"


def draw_latents(
    batch_size,
    latent_dim,
    num_classes,
    seed,
    class_counts=None,
    truncation=None,
):
    """Draws the inputs of a generator.

    Args:
        batch_size: Number of images.
        latent_dim: Length of a latent vector.
        num_classes: Number of classes; 0 or 1 draws label 0.
        seed: Seed, `[2]`, integer.
        class_counts: Number of real images per class, `[num_classes]`,
            integer, to which label frequencies are proportional. None for
            uniform labels, as in the released code.
        truncation: As for `truncate`, or None.

    Returns:
        Latents `[batch_size, latent_dim]`, standard normal, float32, and
        labels `[batch_size]`, int32.
    """
    latents = tf.random.stateless_normal(
        [batch_size, latent_dim], fold_in(seed, 0), alg=_ALG
    )
    if truncation is not None:
        latents = truncate(latents, truncation, seed)
    weighted = class_counts is not None and num_classes > 1
    draws = tf.random.stateless_uniform(
        [batch_size],
        fold_in(seed, 1),
        maxval=int(np.sum(class_counts)) if weighted else max(1, num_classes),
        dtype=tf.int64 if weighted else tf.int32,
        alg=_ALG,
    )
    if not weighted:
        return latents, draws
    ends = tf.constant(np.cumsum(class_counts), tf.int64)
    return latents, tf.searchsorted(ends, draws, side="right")


def describe_imbalance(
    class_counts, setting: str, class_names=()
) -> str | None:
    """Returns a warning if uniform labels are far from those of the data.

    That is, if more than `IMBALANCE` of the generated images, beyond what
    chance explains, belong to another class than with the label frequencies of
    the data: even a perfect generator then has a high FID.

    Args:
        class_counts: Number of real images per class, `[num_classes]`.
        setting: Name of the setting that draws labels as in the data.
        class_names: Names of the classes; empty if there are none.
    """
    shares = np.asarray(class_counts) / np.sum(class_counts)
    distance = np.abs(shares - 1.0 / len(shares)).sum() / 2.0
    # Upper bound of its mean for images drawn from balanced classes.
    chance = np.sqrt((len(shares) - 1) / np.sum(class_counts)) / 2.0
    if distance - chance <= IMBALANCE:
        return None
    counts = np.asarray(class_counts).tolist()
    if len(counts) > 10:
        images = f"{min(counts)} to {max(counts)}"
    elif len(class_names) == len(counts):
        pairs = zip(class_names, counts, strict=True)
        images = ", ".join(f"{name} {count}" for name, count in pairs)
    else:
        images = ", ".join(map(str, counts))
    return (
        f"The images of {len(shares)} classes are {images}, and labels "
        f"of generated images are uniform: {distance:.0%} of them are of "
        f"another class than in the data. {setting} = 'data' draws labels as "
        "frequent as there."
    )


def fold_in(seed, number):
    """Derives the seed of a numbered stream from a seed.

    Args:
        seed: Seed, `[2]`, integer.
        number: Number of the stream, scalar, integer.

    Returns:
        `[2]`, int64. TensorFlow draws the new key in the dtype of the number:
        in 32 bits, some steps of a long run would share a key.
    """
    return tf.random.experimental.stateless_fold_in(
        tf.cast(seed, tf.int64), tf.cast(number, tf.int64), alg=_ALG
    )


def truncate(latents, threshold, seed):
    """Resamples latents until none is beyond a threshold.

    Fewer kinds of images, each nearer to the typical one: fidelity for
    variety. Values within the threshold are kept, so that grids of several
    thresholds show the same images as far as possible. What replaces the
    others follows the distribution that drawing again and again ends in, but
    is drawn once, so that a small threshold takes no longer.

    Args:
        latents: `[n, latent_dim]`, standard normal, float32.
        threshold: Largest magnitude of a value, above 0.
        seed: Seed, `[2]`, integer.

    Returns:
        Latents like `latents`, none of magnitude above `threshold`.

    Source: Brock et al. (2019), arXiv:1809.11096, section 3.1.
    """
    uniform = tf.random.stateless_uniform(
        latents.shape, fold_in(seed, 2), dtype=tf.float64, alg=_ALG
    )
    below = 0.5 * math.erfc(threshold / math.sqrt(2.0))
    resampled = tf.math.ndtri(below + uniform * (1.0 - 2.0 * below))
    resampled = tf.clip_by_value(
        tf.cast(resampled, tf.float32), -threshold, threshold
    )
    return tf.where(tf.abs(latents) > threshold, resampled, latents)


def fixed_inputs(
    generator, num_images, seed=0, columns=8, classes=(), truncation=None
):
    """Draws latents, and labels that are the same along a row of the grid.

    Args:
        generator: A `Generator`.
        num_images: Number of images.
        seed: Seed for the latents.
        columns: Images in a row of the grid.
        classes: Labels of the rows, repeated as needed; empty for all.
        truncation: As for `truncate`, or None.

    Returns:
        Latents `[num_images, latent_dim]`, standard normal float32, and labels
        `[num_images]`, int32, all zero for an unconditional generator.
    """
    latents = tf.random.stateless_normal(
        [num_images, generator.latent_dim], [seed, 0], alg=_ALG
    )
    if truncation is not None:
        latents = truncate(latents, truncation, [seed, 0])
    classes = classes or range(max(1, generator.num_classes))
    rows = tf.range(num_images) // columns % len(classes)
    return latents, tf.gather(tf.constant(classes, tf.int32), rows)


def closed_path(latents, labels, num_classes, steps):
    """Walks from each latent vector to the next, and back to the first.

    Latents move on great circles, as between two normal vectors a straight
    line passes far inside the sphere that the generator knows. Classes move
    linearly: a label becomes weights of the rows of the class tables.

    Args:
        latents: Points on the path, `[points, latent_dim]`, float.
        labels: Their labels, `[points]`, integer.
        num_classes: Number of classes, or 0 for an unconditional generator.
        steps: Steps from each point to the next.

    Returns:
        Latents `[points * steps, latent_dim]`, float32, and class weights
        `[points * steps, num_classes]`, float32; unconditionally, labels
        `[points * steps]`, int32, all zero.

    Source: White (2016), arXiv:1609.04468, section 2.
    """
    starts = np.asarray(latents, np.float64)
    ends = np.roll(starts, -1, axis=0)
    lengths = np.linalg.norm(starts, axis=1) * np.linalg.norm(ends, axis=1)
    cosines = np.clip(np.sum(starts * ends, axis=1) / lengths, -1.0, 1.0)
    angles = np.arccos(cosines)[:, None, None]  # [points, 1, 1]
    share = (np.arange(steps) / steps)[:, None]  # [steps, 1]
    # Between parallel vectors a great circle is a straight line; between
    # opposite ones, all lead from one to the other.
    straight = np.sin(angles) < 1e-6
    circles = np.where(straight, 1.0, np.sin(angles))

    def weight(share):
        return np.where(straight, share, np.sin(share * angles) / circles)

    path = weight(1.0 - share) * starts[:, None] + weight(share) * ends[:, None]
    path = path.reshape(-1, starts.shape[-1]).astype(np.float32)
    if not num_classes:
        return path, np.zeros(len(path), np.int32)
    rows = np.eye(num_classes)[np.asarray(labels)][:, None]
    mixed = (1.0 - share) * rows + share * np.roll(rows, -1, axis=0)
    return path, mixed.reshape(-1, num_classes).astype(np.float32)


def generate(generator, latents, labels, batch_size=64):
    """Generates images, a NumPy array `[n, size, size, channels]` in [-1, 1].

    Batch norm uses its moving moments, so an image does not depend on the
    others in its batch.

    Args:
        generator: A `Generator`.
        latents: `[n, latent_dim]`, float32.
        labels: `[n]`, int32, or class weights `[n, num_classes]`, float32.
        batch_size: Number of images generated at a time.
    """
    return np.concatenate(
        [
            generator(
                latents[i : i + batch_size], labels[i : i + batch_size]
            ).numpy()
            for i in range(0, len(latents), batch_size)
        ]
    )
