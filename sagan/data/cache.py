"""In-memory cache of prepared images, as uint8."""

import os

import numpy as np
import tensorflow as tf
from absl import logging


def fill_cache(source, prepare, shape):
    """Prepares all images of a source.

    Args:
        source: Object with `size` and `examples()`, which yields `(image,
            label)`, fewer than `size` if files are broken.
        prepare: TensorFlow function from an image to uint8 `shape`.
        shape: Height, width and channels.

    Returns:
        `(images, labels)`: uint8 `[n, *shape]` and int32 `[n]`.

    Raises:
        MemoryError: If they would not fit in memory.
    """
    check_memory(source.size, shape)
    images = np.empty((source.size, *shape), np.uint8)
    labels = np.empty(source.size, np.int32)
    filled = 0
    for some, their_labels in _prepared(source, prepare).batch(256):
        rows = slice(filled, filled + len(some))
        images[rows], labels[rows] = some.numpy(), their_labels.numpy()
        filled = rows.stop
    logging.info("Cached %d images, %.0f MB.", filled, images.nbytes / 1e6)
    return images[:filled], labels[:filled]


def prepare_some(source, prepare, count=64):
    """Prepares the first `count` images of a source, as `fill_cache` does."""
    pairs = list(_prepared(source, prepare).take(count).as_numpy_iterator())
    images, labels = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(images), np.array(labels)


def _prepared(source, prepare):
    def prepare_pair(image, label):
        return prepare(image), label

    return source.examples().map(
        prepare_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def check_memory(size, shape):
    """Raises MemoryError if `size` uint8 images would not fit in memory."""
    needed = size * int(np.prod(shape))
    available = _available_memory()
    if needed > available:
        raise MemoryError(
            f"{size} images of {'x'.join(map(str, shape))} need "
            f"{needed / 1e9:.1f} GB of memory and {available / 1e9:.1f} GB are "
            "available: set make_dataset.cache = False, use fewer images or a "
            "smaller image_size."
        )


def _available_memory():
    """Returns the bytes of memory available without swapping."""
    try:
        with open("/proc/meminfo") as meminfo:
            for line in meminfo:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # Not Linux.
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
