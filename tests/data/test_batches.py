"""The sequence of batches: exact resumption, epochs, flips."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.batches import flips, reading
from sagan.data.synthetic import make_synthetic_images

SIZE, BATCH = 23, 5
# More than three epochs.
COUNT = 14
MODES = (
    "synthetic",
    "folder cached",
    "folder by index",
    "tfds cached",
    "tfds stream",
)


@pytest.fixture(scope="module")
def drawn():
    return make_synthetic_images(SIZE, 32)


@pytest.fixture(scope="module")
def root(drawn, tmp_path_factory):
    """The same images as a folder and as a dataset of TFDS."""
    root = tmp_path_factory.mktemp("sources")
    examples = []
    for i, (image, label) in enumerate(zip(*drawn, strict=True)):
        path = root / "folder" / str(label) / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        examples.append({"image": image, "label": int(label), "id": f"{i}"})
    write_fake("cifar10", root / "tfds", examples)
    return root


@pytest.fixture(scope="module", params=MODES)
def open_source(request, root):
    """Opens one of the sources, as `make_dataset` does."""
    kind, _, how = request.param.partition(" ")
    if kind == "synthetic":
        more = {"num_examples": SIZE}
    else:
        more = {"cache": how == "cached", "shuffle_buffer": 16}

    def open_source(**settings):
        name = {"tfds": "cifar10", "folder": f"folder:{root / 'folder'}"}
        return make_dataset(
            name.get(kind, kind),
            image_size=32,
            batch_size=BATCH,
            data_dir=str(root / "tfds"),
            num_classes=10 if kind == "tfds" else 4,
            **{"seed": 3} | more | settings,
        )

    return open_source


@pytest.fixture(scope="module")
def plain(open_source):
    dataset = open_source()
    return dataset, take(dataset, COUNT)


def take(dataset, count, first=0):
    batches = itertools.islice(dataset.batches(first=first), count)
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def pixels(batches):
    images = np.concatenate([images for images, _ in batches])
    return np.rint((images + 1) * 127.5).astype(np.uint8)


def test_pixels_labels_and_types(plain, drawn):
    dataset, batches = plain
    assert dataset.batches().element_spec == (
        tf.TensorSpec([BATCH, 32, 32, 3], tf.float32),
        tf.TensorSpec([BATCH], tf.int32),
    )
    images = np.concatenate([images for images, _ in batches])
    assert images.min() >= -1
    assert images.max() <= 1
    np.testing.assert_array_equal(
        images, pixels(batches).astype(np.float32) / 127.5 - 1
    )
    pairs = zip(*drawn, strict=True)
    expected = {image.tobytes(): label for image, label in pairs}
    labels = np.concatenate([labels for _, labels in batches])
    for image, label in zip(pixels(batches), labels, strict=True):
        assert expected[image.tobytes()] == label


def test_each_epoch_visits_every_example_once(plain):
    keys = [image.tobytes() for image in pixels(plain[1])]
    epochs = [keys[i * SIZE : (i + 1) * SIZE] for i in range(3)]
    assert len(set(epochs[0])) == SIZE
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1]
    assert epochs[1] != epochs[2]


def test_one_pass_is_the_first_epoch_and_ends(plain):
    dataset, batches = plain
    first, again = (list(dataset.one_pass().as_numpy_iterator()) for _ in "ab")
    np.testing.assert_equal(first, again)
    # Known beforehand: Keras counts a batch too many where it is not.
    assert len(first) == len(dataset.one_pass()) == -(-SIZE // BATCH)
    assert sum(len(labels) for _, labels in first) == SIZE
    for ours, theirs in zip(first, batches, strict=False):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other[: len(one)])


def test_flips_are_mirror_images_and_resuming_gives_the_same(
    plain, open_source
):
    whole = take(open_source(flip=True), COUNT)
    chosen = np.stack([flips(np.int64(k), BATCH, 3) for k in range(COUNT)])
    assert 20 <= chosen.sum() <= 50
    for mirrored, (images, _), (expected, _) in zip(
        chosen, whole, plain[1], strict=True
    ):
        mirrored = mirrored[:, None, None, None]
        expected = np.where(mirrored, expected[:, :, ::-1], expected)
        np.testing.assert_array_equal(images, expected)
    # The seed of TensorFlow is no matter.
    tf.random.set_seed(2)
    again = open_source(flip=True)
    # Within an epoch, around its border, and in a later one.
    for first in (1, 4, 5, 11):
        np.testing.assert_equal(take(again, 3, first), whole[first : first + 3])


def test_order_depends_on_the_seed(plain, open_source):
    (other, _), *_ = take(open_source(seed=4), 1)
    assert (other != plain[1][0][0]).any()


def test_far_positions_cost_nothing_and_labels_may_be_left_out():
    dataset = make_dataset("synthetic", 32, BATCH, num_examples=SIZE)
    ((images, labels),) = take(dataset, 1, first=10**9)
    assert np.isfinite(images).all()
    assert dataset.label_histogram is None
    assert not labels.any()


def test_flips_are_fair_and_independent():
    def draw(seed):
        return np.stack([flips(np.int64(k), 64, seed) for k in range(200)])

    chosen, other = draw(0).astype(float), draw(1).astype(float)
    # Five standard errors among 12,800.
    assert chosen.mean() == pytest.approx(0.5, abs=0.022)
    flat = chosen.ravel()
    for lag in (1, 2, 64, 640):
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 0.044
    assert abs(np.corrcoef(flat, other.ravel())[0, 1]) < 0.044


# Op determinism cannot be undone, and iterators that live to the end, as after
# an error, must not hang it: both need a process of their own.
DETERMINISTIC = """
import sys
import tensorflow as tf
tf.keras.utils.set_random_seed(1)
tf.config.experimental.enable_op_determinism()
from sagan.data import make_dataset
kept = []
folder = f"folder:{sys.argv[1]}/folder"
for name, cache in (("cifar10", False), (folder, True), (folder, False)):
    data = make_dataset(name, 32, 5, cache=cache, flip=True,
                        data_dir=f"{sys.argv[1]}/tfds")
    one = list(data.batches().take(5))[4][0]
    kept.append(iter(data.batches(first=4)))
    assert (one == next(kept[-1])[0]).numpy().all()
raise KeyboardInterrupt
"""


def test_under_op_determinism_and_at_exit_with_live_iterators(root):
    done = subprocess.run(
        [sys.executable, "-c", DETERMINISTIC, root],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        timeout=120,
    )
    assert "KeyboardInterrupt" in done.stderr, done.stderr[-2000:]


def test_a_lost_worker_is_no_fault_of_the_data():
    lost = "Collective ops is aborted by: another worker"
    with pytest.raises(tf.errors.InternalError), reading("Data", "Fix."):
        raise tf.errors.InternalError(None, None, lost)
    path = "/data/Collective/x.png: FileNotFoundError"
    with (
        pytest.raises(OSError, match=f"Data cannot be read: {path}. Fix."),
        reading("Data", "Fix."),
    ):
        raise tf.errors.InvalidArgumentError(None, None, path)
