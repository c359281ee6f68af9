"""Differentiable augmentation of images, from random numbers given with them.

Every image comes with its own `DRAWS` numbers, so that what becomes of it
depends neither on the replica nor on the micro-batch that it is in.
"""

from collections.abc import Collection
from typing import Literal

import tensorflow as tf

AugmentationName = Literal["color", "translation", "cutout"]
# Random numbers per image: 3 for colours, 2 for the translation, 2 for the
# cutout, and 3 for `flip_and_shift`.
DRAWS = 10
# Largest shift, and side of the cutout, relative to the image.
_SHIFT, _CUTOUT = 1 / 8, 1 / 2


def draw_augmentations(num_images: int, seed) -> tf.Tensor:
    """Draws `[num_images, 2, DRAWS]`, float32 in [0, 1).

    For a real and a generated image at each position of a batch.

    Args:
        num_images: Images in the global batch.
        seed: Seed, `[2]`, integer.
    """
    return tf.random.stateless_uniform(
        [num_images, 2, DRAWS], seed, alg="philox"
    )


def augment(
    images: tf.Tensor, draws: tf.Tensor, names: Collection[str]
) -> tf.Tensor:
    """Applies DiffAugment: colour, then translation, then cutout.

    Colour adds up to 0.5 in brightness, then multiplies the saturation by up to
    2 and the contrast by 0.5 to 1.5. Translation moves by up to an eighth of
    the image, with zeros moving in. Cutout sets a square of half the side to
    zero.

    Args:
        images: `[batch, size, size, channels]`, float32 in [-1, 1].
        draws: `[batch, DRAWS]`, float32 in [0, 1).
        names: Those to apply.

    Returns:
        As `images`; colours may leave [-1, 1].

    Source: Zhao et al. (2020), arXiv:2006.10738, and DiffAugment_tf.py of its
    code, with the policy's parts in that order.
    """
    size = images.shape[1]
    if "color" in names:
        images = _change_colors(images, draws[:, :3])
    if "translation" in names:
        rows, columns = (
            tf.range(size) + _shifts(draws[:, i], size) for i in (3, 4)
        )
        images = _take(images, rows, columns)
    if "cutout" in names:
        outside = (
            1.0
            - _cutout(draws[:, 5], size)[:, :, None]
            * (_cutout(draws[:, 6], size)[:, None])
        )
        images *= outside[..., None]
    return images


def flip_and_shift(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Flips half of the images, and moves all by up to an eighth.

    What moves in is the image's reflection.

    Args:
        images: `[batch, size, size, channels]`, float32.
        draws: `[batch, DRAWS]`, float32 in [0, 1).

    Source: the augmentation of Zhao et al. (2020), arXiv:2002.04724; the
    reflection is that of cr.py in PyTorch-StudioGAN.
    """
    size = images.shape[1]
    rows, columns = (
        _reflect(tf.range(size) + _shifts(draws[:, i], size), size)
        for i in (7, 8)
    )
    flipped = draws[:, 9:] < 0.5  # [batch, 1]
    return _take(images, rows, tf.where(flipped, size - 1 - columns, columns))


def _change_colors(images, draws):
    brightness, saturation, contrast = (
        draws[:, i, None, None, None] for i in range(3)
    )
    images += brightness - 0.5
    grey = tf.reduce_mean(images, 3, keepdims=True)
    images = (images - grey) * (saturation * 2.0) + grey
    mean = tf.reduce_mean(images, [1, 2, 3], keepdims=True)
    return (images - mean) * (contrast + 0.5) + mean


def _shifts(draws, size):
    """Whole pixels, `[batch, 1]`, of -size/8 to size/8 alike."""
    return _integers(draws, 2 * int(size * _SHIFT) + 1) - int(size * _SHIFT)


def _cutout(draws, size):
    """1 where a square is, along one axis: `[batch, size]`, float32."""
    length = int(size * _CUTOUT)
    # As many places as there are pixels for its centre.
    start = _integers(draws, size + 1 - length % 2) - length // 2
    offsets = tf.range(size) - start
    return tf.cast((offsets >= 0) & (offsets < length), tf.float32)


def _integers(draws, count):
    """`[batch, 1]`, int32 in [0, count)."""
    return tf.cast(draws[:, None] * count, tf.int32)


def _reflect(positions, size):
    """Reflects positions at the first and at the last pixel."""
    positions = tf.abs(positions)
    return size - 1 - tf.abs(size - 1 - positions)


def _take(images, rows, columns):
    """Takes rows and columns, `[batch, size]`; zeros where outside.

    As products with one-hot matrices: exact, and unlike that of `tf.gather`
    their gradient is deterministic on a GPU.
    """
    size = images.shape[1]
    rows, columns = (tf.one_hot(x, size) for x in (rows, columns))
    images = tf.einsum("bij,bjwc->biwc", rows, images)
    return tf.einsum("bij,bhjc->bhic", columns, images)
