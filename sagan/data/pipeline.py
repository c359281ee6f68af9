"""`make_dataset`: opens a dataset by name, checks it and makes its batches."""

import contextlib
import functools
import time

import gin
import numpy as np
from absl import logging

from sagan.config import Channels, Count, Natural, NonNegative, checked
from sagan.config.paths import FOLDER, image_folder
from sagan.data.batches import ImageDataset, reading
from sagan.data.cache import check_memory, fill_cache, prepare_some
from sagan.data.fingerprint import Identity, hash_facts
from sagan.data.image_folder import ImageFolder
from sagan.data.preprocessing import CUSTOMARY_CROPS, prepare_image
from sagan.data.readers import (
    read_arrays,
    read_by_index,
    read_shards,
    read_stream,
)
from sagan.data.synthetic import (
    DRAWING,
    LABELS,
    is_synthetic,
    make_synthetic_images,
)
from sagan.data.tfds import TfdsImages


@gin.configurable(denylist=["data_dir", "download"])
@checked
def make_dataset(
    name: str = gin.REQUIRED,
    image_size: Count = gin.REQUIRED,
    batch_size: Count = gin.REQUIRED,
    seed: Natural = 0,
    channels: Channels = 3,
    num_classes: Natural = 0,
    split: str = "train",
    flip: bool = False,
    cache: bool = True,
    shuffle_buffer: Count = 10_000,
    shards: Count = 1,
    num_examples: Count | None = None,
    crop_size: Count | None = None,
    max_unreadable: NonNegative = 0.01,
    data_dir: str | None = None,
    download: bool = False,
) -> ImageDataset:
    """Opens a dataset, checks it and makes its endless sequence of batches.

    The sequence depends only on the arguments, so a resumed run sees the
    batches an uninterrupted one would have seen.

    Args:
        name: "folder:PATH", "synthetic", "synthetic_positions", or a dataset
            of TFDS.
        image_size: Height and width of the images in pixels.
        batch_size: Images per batch, over all devices.
        seed: Seed for the order and the flips, not negative.
        channels: 3, or 1 for grey images.
        num_classes: Number of classes in the data, or 0 to ignore labels.
        split: Split or slice ("train[:90%]") of a TFDS dataset; "train" or
            "test" of a synthetic one.
        flip: Whether to mirror half of the images, redrawn in each epoch.
        cache: Whether to hold all prepared images in memory as uint8 instead
            of decoding them on demand.
        shuffle_buffer: Number of encoded examples among which an uncached TFDS
            dataset is shuffled, after the order of its files was drawn for the
            epoch. Cached images and folders are always shuffled as a whole.
        shards: Number of parts of an uncached TFDS dataset, a divisor of the
            batch size. Each is shuffled separately and has equally many images
            in every batch, so that each of several workers, whose number
            divides it, reads only its own part of the files.
        num_examples: Size of a synthetic dataset, by default 10,000.
        crop_size: Side of the centre crop before resizing, in pixels; by
            default that of `CUSTOMARY_CROPS`, or the largest.
        max_unreadable: Largest tolerated fraction of broken files in a folder.
        data_dir: Folder of prepared TFDS datasets; by default TFDS's own.
        download: Whether TFDS may download and prepare a missing dataset.

    Raises:
        FileNotFoundError: If the folder or the prepared dataset is missing.
        OSError: If its files are damaged; so does `ImageDataset.checked`.
        RuntimeError: If a download fails.
        ValueError: If an argument is out of range or does not fit the data.
        MemoryError: If the cache would not fit in memory.
    """
    _check_arguments(name, num_examples)
    _check_shards(shards, name, cache, batch_size, shuffle_buffer)
    started = time.monotonic()
    shape = (image_size, image_size, channels)
    prepare = functools.partial(
        prepare_image,
        image_size=image_size,
        crop_size=crop_size or CUSTOMARY_CROPS.get(name),
        channels=channels,
    )
    failures = contextlib.nullcontext
    if is_synthetic(name):
        size = num_examples or 10_000
        read, labels, identity = _open_synthetic(
            name, size, shape, split, num_classes
        )
    else:
        source = find_source(name, split, num_classes, data_dir, download)
        if isinstance(source, ImageFolder):
            open_source = functools.partial(
                _open_folder, cache=cache, max_unreadable=max_unreadable
            )
        else:
            buffers = None if cache else [shuffle_buffer // shards] * shards
            open_source = functools.partial(
                _open_tfds, buffers=buffers, num_classes=num_classes
            )
        identity = source.identity()
        failures = functools.partial(reading, source.place, source.fix)
        with failures():
            read, labels = open_source(source, prepare, shape)
        size = source.size  # Without unreadable files.
    if size < batch_size:
        raise ValueError(
            f"{name!r} has {size} images, fewer than one batch of "
            f"{batch_size}: lower make_dataset.batch_size."
        )
    histogram = _count_classes(name, labels, identity.class_names, num_classes)
    logging.info(
        "Dataset %s (%s): %d images of %s, %s, ready in %.1f s.",
        *(identity.full_name, split, size, "x".join(map(str, shape))),
        _describe_classes(identity.class_names, num_classes, histogram),
        time.monotonic() - started,
    )
    return ImageDataset(
        read,
        name=name,
        identity=identity,
        size=size,
        num_classes=num_classes,
        label_histogram=histogram,
        channels=channels,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        flip=flip,
        failures=failures,
        order="streamed" if _is_streamed(name, cache) else "shuffled",
    )


def find_source(
    name: str,
    split: str = "train",
    num_classes: int = 0,
    data_dir: str | None = None,
    download: bool = False,
) -> ImageFolder | TfdsImages:
    """Finds the images of a dataset that has files, without reading them.

    Args, Raises: As for `make_dataset`.
    """
    if name.startswith(FOLDER):
        return _find_folder(name, split, num_classes)
    check = functools.partial(_check_classes, name, num_classes)
    return TfdsImages(name, split, data_dir, download, check)


def _check_arguments(name, num_examples):
    if not isinstance(name, str) or not name:
        raise ValueError(
            "make_dataset.name must be 'synthetic', 'folder:PATH' or a "
            f"dataset of TFDS such as 'celeb_a', got {name!r}."
        )
    if num_examples is not None and not is_synthetic(name):
        raise ValueError(
            f"num_examples={num_examples} is for synthetic sets only; for part "
            f"of a TFDS dataset use split='train[:{num_examples}]'."
        )


def _is_streamed(name, cache):
    """Whether examples come through a buffer, not each by its number."""
    return not (cache or is_synthetic(name) or name.startswith(FOLDER))


def _check_shards(shards, name, cache, batch_size, shuffle_buffer):
    if shards == 1:
        return
    if not _is_streamed(name, cache):
        raise ValueError(
            f"make_dataset.shards is {shards}, but is for a TFDS dataset with "
            "make_dataset.cache = False: others need no parts, since each "
            "image is read by itself. Leave it at 1."
        )
    if batch_size % shards or shards > shuffle_buffer:
        raise ValueError(
            f"make_dataset.shards is {shards}: expected a divisor of the batch "
            f"of {batch_size}, and no more than the shuffle_buffer of "
            f"{shuffle_buffer}, which they share."
        )


def _check_classes(name, num_classes, found, empty=()):
    if num_classes in (0, found):
        return
    if not found:
        raise ValueError(
            f"{name!r} has no class labels, but num_classes={num_classes}: "
            "set num_classes = 0. (A folder's classes are its sub-folders.)"
        )
    without = f" (and {', '.join(empty)} without images)" if empty else ""
    raise ValueError(
        f"{name!r} has {found} classes{without}, but num_classes="
        f"{num_classes}: set num_classes = {found}, or 0 to ignore labels."
    )


def _count_classes(name, labels, class_names, num_classes):
    """Returns the images of each class, or None if they are not known.

    Raises:
        ValueError: If a class of a folder has lost all of its images.
    """
    if not num_classes or labels is None:
        return None
    counts = np.bincount(labels, minlength=num_classes)
    if name.startswith(FOLDER) and not counts.all():
        lost = [class_names[i] for i in np.flatnonzero(counts == 0)]
        raise ValueError(
            f"No image of class {', '.join(map(repr, lost))} of {name!r} can "
            "be read: repair its files, or move its folder away."
        )
    return counts


def _check_extremes(name, lowest, highest):
    """Checks the smallest and the largest value of all pixels looked at."""
    if lowest == highest:
        raise ValueError(
            f"Every pixel sampled from {name!r} is {lowest}: the images are "
            "blank. Check the source."
        )
    if highest <= 2:
        raise ValueError(
            f"No pixel sampled from {name!r} exceeds {highest}: images must be "
            "uint8 from 0 to 255, not scaled to [0, 1]."
        )
    if highest <= 16:
        logging.warning(
            "No pixel of %r exceeds %d of 255: the images are nearly black. "
            "Multiply 12-bit values in files of 16 bits by 16.",
            *(name, highest),
        )


def _check_contents(name, images, labels, num_classes):
    """Checks the images and labels of a source, or a sample of them."""
    if len(images):
        _check_extremes(name, images.min(), images.max())
    if num_classes and len(labels) and labels.max() >= num_classes:
        raise ValueError(
            f"{name!r} has an example of class {labels.max()}, but has "
            f"{num_classes} classes, 0 to {num_classes - 1}: its files do not "
            "match its description; prepare it again."
        )
    if num_classes and len(labels) and labels.min() < 0:
        raise ValueError(
            f"{name!r} has examples without a class (label {labels.min()}) in "
            "this split: choose another split, or set num_classes = 0."
        )


def _open_synthetic(name, size, shape, split, num_classes):
    image_size, _, channels = shape
    if channels != 3:
        raise ValueError(
            "A synthetic dataset is about colour: it needs channels=3, got "
            f"{channels}."
        )
    _check_classes(name, num_classes, len(LABELS[name]))
    check_memory(size, shape)
    images, labels = make_synthetic_images(size, image_size, split, name)
    # Pixels differ by a rounding between processors; what is drawn does not.
    drawn = hash_facts(DRAWING, name, split, size, image_size, labels.tolist())
    identity = Identity(name, drawn, LABELS[name])
    return read_arrays(images, labels), labels, identity


def _find_folder(name, split, num_classes):
    if split != "train":
        raise ValueError(
            f"An image folder has no splits, got split={split!r}: use the "
            "default, and point 'folder:PATH' at the images of that split."
        )
    folder = ImageFolder(image_folder(name))
    if num_classes:
        folder.check_classes()
    _check_classes(name, num_classes, folder.num_classes, folder.empty)
    return folder


def _open_folder(folder, prepare, shape, cache, max_unreadable):
    if cache:
        images, labels = fill_cache(folder, prepare, shape)
    else:
        # Positions count readable files, so all must be tried first.
        for _ in folder.examples().map(lambda image, label: label).batch(256):
            pass
    folder.drop_unreadable(max_unreadable)
    folder.warn_of_cut_files()
    _check_extremes(f"{FOLDER}{folder.path}", *folder.extremes)
    if cache:
        return read_arrays(images, labels), labels
    read = read_by_index(folder.load, folder.size, prepare)
    return read, folder.labels


def _open_tfds(source, prepare, shape, buffers, num_classes):
    """Streams one shard through each of `buffers`; caches if that is None."""
    if buffers is None:
        images, labels = fill_cache(source, prepare, shape)
    else:
        images, labels = prepare_some(source, prepare)
    _check_contents(source.name, images, labels, num_classes)
    if buffers is None:
        return read_arrays(images, labels), labels

    def decode(encoded):
        return prepare(source.decode(encoded))

    shards = source.shards(len(buffers))
    reads = [
        read_stream(encoded, size, buffer, decode)
        for (size, encoded), buffer in zip(shards, buffers, strict=True)
    ]
    return read_shards(reads), None


def _describe_classes(names, num_classes, counts):
    if not num_classes:
        return "labels not used"
    if num_classes > 10:
        text = f"{num_classes} classes, {names[0]} to {names[-1]}"
        if counts is None:
            return text
        return f"{text}, of {counts.min()} to {counts.max()} images"
    if counts is not None:
        names = [f"{name} {n}" for name, n in zip(names, counts, strict=True)]
    return f"{num_classes} classes ({', '.join(names)})"
