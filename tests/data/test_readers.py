"""In what order examples are read, and which of them by each worker."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.readers import example_order, read_shards, read_stream
from sagan.data.synthetic import make_synthetic_images
from sagan.data.tfds import _PIECES, TfdsImages

SIZE, BATCH, EPOCHS = 640, 40, 5


def test_orders_of_epochs_and_seeds_are_unrelated():
    size = 1000
    orders = [
        next(iter(example_order(size, seed, epoch * size).batch(size))).numpy()
        for epoch in (0, 1, 2**40)
        for seed in (0, 1, 2**40)
    ]
    for order in orders:
        assert sorted(order) == list(range(size))
    for one, other in itertools.combinations(orders, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.16


def write_images(root, images, num_files=1):
    examples = [
        {"image": image, "label": i % 10, "id": f"{i}"}
        for i, image in enumerate(images)
    ]
    write_fake("cifar10", root, examples, num_files=num_files)


@pytest.fixture(
    scope="module",
    params=[(5, 1), (80, 4)],
    ids="{0[0]} files, {0[1]} shards".format,
)
def stream(request, tmp_path_factory):
    """Where images that show their number are, and in how many shards."""
    num_files, shards = request.param
    root = tmp_path_factory.mktemp("tfds")
    images = np.zeros([SIZE, 32, 32, 3], np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(SIZE), 256)
    images[:, 0, 0, 2] = 255
    write_images(root, images, num_files)
    return root, shards


def numbers(stream, count, first=0, seed=0):
    """Numbers of the images of some batches, `[count, BATCH]`."""
    root, shards = stream
    dataset = make_dataset(
        *("cifar10", 32, BATCH, seed),
        cache=False,
        shuffle_buffer=40,
        shards=shards,
        data_dir=str(root),
    )
    batches = itertools.islice(dataset.batches(first), count)
    shown = np.stack([images[:, 0, 0, :2].numpy() for images, _ in batches])
    return np.rint((shown + 1) * 127.5).astype(int) @ [256, 1]


def test_epochs_of_a_stream_are_hardly_correlated(stream):
    """Each epoch has an order of its own and each example once."""
    whole = numbers(stream, EPOCHS * SIZE // BATCH)
    epochs = whole.reshape(EPOCHS, SIZE)
    np.testing.assert_array_equal(
        np.sort(epochs, axis=1), np.tile(np.arange(SIZE), (EPOCHS, 1))
    )
    # Where each example is in each epoch, and where it is stored.
    places = [np.argsort(epoch) for epoch in epochs] + [np.arange(SIZE)]
    correlations = np.corrcoef(places)[np.triu_indices(EPOCHS + 1, 1)]
    # A correlation of permutations of n pieces has the standard deviation
    # 1 / sqrt(n - 1); an eighth of the pieces, read in turns, adds 1 / 64.
    deviation = 1 / np.sqrt(_PIECES - 1)
    assert np.abs(correlations).max() < 1 / 64 + 4 * deviation
    mean_deviation = deviation / np.sqrt(len(correlations))
    assert abs(correlations.mean()) < 1 / 64 + 4 * mean_deviation
    # Resumed inside an epoch at its border, and in a later one.
    for first in (15, 50):
        np.testing.assert_array_equal(
            numbers(stream, 3, first), whole[first : first + 3]
        )
    assert (numbers(stream, 2, seed=1) != whole[:2]).any()


def test_parts_of_splits_are_what_tfds_reads(stream):
    split = "train[10:200]+train[-7:]"
    source = TfdsImages("cifar10", split, str(stream[0]))
    stored = list(source.encoded().as_numpy_iterator())
    drawn = []
    for size, encoded in source.shards(3):
        pairs = list(encoded(7).as_numpy_iterator())
        assert len(pairs) == size
        drawn += pairs
    assert sorted(drawn) == sorted(stored)
    assert drawn != stored


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The same images as a folder and as a dataset of TFDS."""
    root = tmp_path_factory.mktemp("sources")
    images, _ = make_synthetic_images(30, 32)
    (root / "folder").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(root / f"folder/{i:03}.png")
    write_images(root / "tfds", images)
    return root


@pytest.mark.parametrize("kind", ["synthetic", "folder", "tfds, 1", "tfds, 2"])
def test_rows_of_the_workers_are_the_batch(kind, sources):
    """From any batch on, with flips."""
    settings = {"image_size": 32, "batch_size": 8, "seed": 3, "flip": True}
    if kind == "synthetic":
        dataset = make_dataset(kind, num_examples=30, **settings)
    elif kind == "folder":
        name = f"folder:{sources / 'folder'}"
        dataset = make_dataset(name, cache=False, **settings)
    else:
        dataset = make_dataset(
            "cifar10",
            cache=False,
            shards=int(kind[-1]),
            data_dir=str(sources / "tfds"),
            **settings,
        )

    def take(rows):
        batches = itertools.islice(dataset.batches(5, rows), 4)
        pairs = [(images.numpy(), labels.numpy()) for images, labels in batches]
        return zip(*pairs, strict=True)

    whole = [np.stack(arrays) for arrays in take(None)]
    for worker in range(4):
        rows = range(2 * worker, 2 * worker + 2)
        for own, arrays in zip(take(rows), whole, strict=True):
            np.testing.assert_array_equal(own, arrays[:, rows])


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
