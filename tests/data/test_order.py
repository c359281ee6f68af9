"""The order in which a TFDS data set that is not cached is read."""

import itertools

import numpy as np
import pytest
from fake_tfds import write_fake

from sagan.data import make_dataset
from sagan.data.tfds import _PIECES, TfdsImages

SIZE, BATCH, EPOCHS = 1280, 40, 5


@pytest.fixture(scope="module", params=[1, 5, 80], ids="{} files".format)
def root(request, tmp_path_factory):
    """A data set of images that show their number."""
    root = tmp_path_factory.mktemp("tfds")
    images = np.zeros([SIZE, 32, 32, 3], np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(SIZE), 256)
    images[:, 0, 0, 2] = 255
    examples = [
        {"image": image, "label": 0, "id": f"{i}"}
        for i, image in enumerate(images)
    ]
    write_fake("cifar10", root, examples, num_files=request.param)
    return root


def numbers(root, count, first=0, **settings):
    """Numbers of the images of some batches, `[count, BATCH]`."""
    dataset = make_dataset(
        *("cifar10", 32, BATCH),
        cache=False,
        shuffle_buffer=40,
        data_dir=str(root),
        **settings,
    )
    batches = itertools.islice(dataset.batches(first), count)
    shown = np.stack([images[:, 0, 0, :2].numpy() for images, _ in batches])
    return np.rint((shown + 1) * 127.5).astype(int) @ [256, 1]


@pytest.mark.parametrize("shards", [1, 4])
def test_epochs_are_hardly_correlated(root, shards):
    """Not in file order, each epoch anew, and each example once."""
    batches = EPOCHS * SIZE // BATCH
    epochs = numbers(root, batches, shards=shards).reshape(EPOCHS, SIZE)
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


@pytest.mark.parametrize("shards", [1, 4])
def test_resuming_inside_an_epoch(root, shards):
    whole = numbers(root, 70, shards=shards)
    for first in (5, 31, 50):
        np.testing.assert_array_equal(
            numbers(root, 3, first, shards=shards), whole[first : first + 3]
        )


def test_order_depends_on_the_seed(root):
    one, again, other = (numbers(root, 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_parts_of_splits_are_what_tfds_reads(root):
    split = "train[10:200]+train[-7:]"
    source = TfdsImages("cifar10", split, str(root))
    stored = list(source.encoded().as_numpy_iterator())
    drawn = []
    for size, encoded in source.shards(3):
        pairs = list(encoded(7).as_numpy_iterator())
        assert len(pairs) == size
        drawn += pairs
    assert sorted(drawn) == sorted(stored)
    assert drawn != stored
