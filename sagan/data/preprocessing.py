"""Crops and resizes images of any size to squares of uint8."""

import tensorflow as tf

# Side of the centre square that a dataset is customarily cropped to before
# resizing; others use the largest centre square. CelebA's aligned images are
# 178 wide and 218 high, so 178 is their full width: the crop of mimicry
# (arXiv:2005.02494) and of most published CelebA results.
CUSTOMARY_CROPS = {"celeb_a": 178}


def prepare_image(image, image_size: int, crop_size=None, channels: int = 3):
    """Crops to a centre square, resizes with antialiasing, converts channels.

    An image whose crop is already `image_size` wide is not resampled: its
    pixels are unchanged.

    Args:
        image: `[height, width, 1 or 3]`, uint8, sizes known or not.
        image_size: Side of the result in pixels.
        crop_size: Side of the centre crop in pixels. `None`, or more than the
            image's shorter side, takes the largest square.
        channels: 3 repeats a grey image; 1 takes the luma of a colour image.

    Returns:
        `[image_size, image_size, channels]`, uint8.
    """
    image = _set_channels(image, channels)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    side = tf.minimum(height, width)
    if crop_size is not None:
        side = tf.minimum(side, crop_size)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[top : top + side, left : left + side]
    image = tf.cond(
        tf.equal(side, image_size),
        lambda: image,
        lambda: _resize(image, image_size),
    )
    return tf.ensure_shape(image, [image_size, image_size, channels])


def _resize(image, image_size):
    size = [image_size, image_size]
    image = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(image), 0.0, 255.0), tf.uint8)


def _set_channels(image, channels):
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return tf.repeat(image, 3, axis=-1)
    # ITU-R 601 luma in 16-bit fixed point, as Pillow's mode "L" computes it.
    weights = tf.constant([19595, 38470, 7471], tf.int32)
    luma = tf.reduce_sum(tf.cast(image, tf.int32) * weights, -1, keepdims=True)
    return tf.cast((luma + 32768) // 65536, tf.uint8)


def to_unit_range(images):
    """Maps uint8 `[0, 255]` to float32 `[-1, 1]`: 0 to -1, 255 to exactly 1."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0
