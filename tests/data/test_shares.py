"""What each worker reads of a batch, and of the files."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.readers import read_shards, read_stream
from sagan.data.synthetic import make_synthetic_images

SIZE, BATCH = 30, 8


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same images as a folder and as a data set of TFDS."""
    root = tmp_path_factory.mktemp("sources")
    images, labels = make_synthetic_images(SIZE, 32)
    (root / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(root / f"folder/{i:03}.png")
    examples = [
        {"image": image, "label": int(label), "id": f"{i}"}
        for i, (image, label) in enumerate(zip(images, labels, strict=True))
    ]
    write_fake("cifar10", root / "tfds", examples)
    return root


def open_source(kind, sources, **settings):
    settings = {
        "image_size": 32, "batch_size": BATCH, "seed": 3, "flip": True,
    } | settings  # fmt: skip
    if kind == "synthetic":
        return make_dataset("synthetic", num_examples=SIZE, **settings)
    settings["cache"] = False
    if kind == "folder":
        return make_dataset(f"folder:{sources / 'folder'}", **settings)
    shards = int(kind.removeprefix("tfds, shards "))
    return make_dataset(
        "cifar10", data_dir=str(sources / "tfds"), shards=shards, **settings
    )


def take(dataset, count, first=0, rows=None):
    batches = itertools.islice(dataset.batches(first, rows), count)
    return [
        np.concatenate(arrays)
        for arrays in zip(
            *[(images.numpy(), labels.numpy()) for images, labels in batches],
            strict=True,
        )
    ]


@pytest.mark.parametrize(
    "kind", ["synthetic", "folder", "tfds, shards 1", "tfds, shards 2"]
)
@pytest.mark.parametrize("first", [0, 5])
def test_rows_of_the_workers_are_the_batch(kind, first, sources):
    """On any number of workers, from any batch on, with flips."""
    dataset = open_source(kind, sources)
    images, labels = take(dataset, 4, first)
    for workers in (2, 4):
        size = BATCH // workers
        for worker in range(workers):
            rows = range(worker * size, (worker + 1) * size)
            chosen = np.arange(4 * BATCH) % BATCH // size == worker
            own_images, own_labels = take(dataset, 4, first, rows)
            np.testing.assert_array_equal(own_images, images[chosen])
            np.testing.assert_array_equal(own_labels, labels[chosen])


def test_an_epoch_of_two_shards_visits_each_example_once(sources):
    dataset = open_source("tfds, shards 2", sources, batch_size=6, flip=False)
    images, _ = take(dataset, SIZE // 6)
    assert len(np.unique(images.reshape(SIZE, -1), axis=0)) == SIZE


def test_a_shard_without_own_rows_is_not_read():
    def fail(i):
        with tf.control_dependencies([tf.debugging.Assert(False, ["read"])]):
            return keep(i)

    def keep(i):
        return tf.identity(i), tf.cast(i, tf.int32)

    good = tf.data.Dataset.range(8).map(keep)
    bad = tf.data.Dataset.range(8).map(fail)
    read = read_shards(
        [
            read_stream(lambda seed, data=data: data, 8, 4, tf.identity)
            for data in (good, bad)
        ]
    )
    images, _ = next(iter(read(0, 4, seed=0, rows=range(0, 2))))
    assert images.shape == (2,)
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(iter(read(0, 4, seed=0, rows=range(0, 3))))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("synthetic", {"shards": 2}, "shards is 2, but is for a TFDS"),
        ("folder", {"shards": 2}, "shards is 2, but is for a TFDS"),
        ("tfds, shards 3", {}, "a divisor of the batch of 8"),
        ("tfds, shards 4", {"shuffle_buffer": 3}, "shuffle_buffer of 3"),
    ],
)
def test_shards_that_cannot_be(kind, settings, message, sources):
    with pytest.raises(ValueError, match=message):
        open_source(kind, sources, **settings)
