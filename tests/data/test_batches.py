"""The sequence of batches: exact resumption, epochs, flips, checks."""

import itertools
import os
import pathlib
import subprocess
import sys

import gin
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from sagan.data import cache, make_dataset
from sagan.data.batches import flips
from sagan.data.readers import example_order
from sagan.data.synthetic import make_synthetic_images

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TFDS = REPOSITORY / ".." / "shared" / "data" / "tfds"

needs_tfds = pytest.mark.skipif(
    not TFDS.is_dir(), reason=f"the development data is not at {TFDS}"
)


def _pixels(images):
    return np.rint((np.asarray(images) + 1) * 127.5).astype(np.uint8)


def _take(dataset, count, first=0):
    batches = itertools.islice(dataset.batches(first=first), count)
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("images")
    images, labels = make_synthetic_images(23, 32)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(image).save(path / str(label) / f"{i:03}.png")
    return path


def _open(mode, folder, **kwargs):
    """Datasets of 23 (synthetic, folder) or 60 (TFDS) images, batches of 5."""
    kwargs = {"image_size": 32, "batch_size": 5, "seed": 3, **kwargs}
    if mode == "synthetic":
        return make_dataset("synthetic", num_examples=23, **kwargs)
    if mode.startswith("folder"):
        return make_dataset(
            f"folder:{folder}", cache=mode == "folder cached", **kwargs
        )
    if not TFDS.is_dir():
        pytest.skip(f"the development data is not at {TFDS}")
    return make_dataset(
        "cifar10",
        split="train[:60]",
        cache=mode == "tfds cached",
        shuffle_buffer=16,
        data_dir=str(TFDS),
        **kwargs,
    )


MODES = (
    "synthetic",
    "folder cached",
    "folder by index",
    "tfds cached",
    "tfds stream",
)


@pytest.mark.parametrize("mode", MODES)
def test_resuming_gives_the_same_batches(mode, folder):
    num_classes = 10 if mode.startswith("tfds") else 4
    dataset = _open(mode, folder, num_classes=num_classes, flip=True)
    whole = _take(dataset, 30)  # More than two epochs of the longest.
    again = _open(mode, folder, num_classes=num_classes, flip=True)
    # Within an epoch, at and around its border, and in a later one.
    for first in (1, 4, 5, 11, 12, 13, 26):
        for (images, labels), (their_images, their_labels) in zip(
            whole[first : first + 3], _take(again, 3, first), strict=True
        ):
            np.testing.assert_array_equal(images, their_images)
            np.testing.assert_array_equal(labels, their_labels)


@pytest.mark.parametrize("mode", MODES)
def test_each_epoch_visits_every_example_once(mode, folder):
    dataset = _open(mode, folder)
    size = dataset.size
    images = np.concatenate([x for x, _ in _take(dataset, 3 * size // 5 + 1)])
    keys = [image.tobytes() for image in _pixels(images)]
    epochs = [keys[i * size : (i + 1) * size] for i in range(3)]
    assert len(set(epochs[0])) == size
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert epochs[0] != epochs[1]
    assert epochs[1] != epochs[2]


@pytest.mark.parametrize("mode", MODES)
def test_one_pass_has_every_example_once_and_ends(mode, folder):
    dataset = _open(mode, folder, num_classes=10 if "tfds" in mode else 4)
    passes = [list(dataset.one_pass().as_numpy_iterator()) for _ in range(2)]
    # Known beforehand: Keras counts a batch too many where it is not.
    assert len(passes[0]) == len(dataset.one_pass()) == -(-dataset.size // 5)
    assert sum(len(labels) for _, labels in passes[0]) == dataset.size
    images = np.concatenate([x for x, _ in passes[0]])
    assert len({image.tobytes() for image in images}) == dataset.size
    np.testing.assert_equal(passes[0], passes[1])
    # They are the first epoch.
    for (images, labels), (their_images, their_labels) in zip(
        passes[0], _take(dataset, len(passes[0])), strict=True
    ):
        np.testing.assert_array_equal(images, their_images[: len(images)])
        np.testing.assert_array_equal(labels, their_labels[: len(labels)])


@pytest.mark.parametrize("mode", MODES)
def test_pixels_labels_and_types(mode, folder):
    dataset = _open(mode, folder, num_classes=10 if "tfds" in mode else 4)
    spec = dataset.batches().element_spec
    assert spec[0] == tf.TensorSpec([5, 32, 32, 3], tf.float32)
    assert spec[1] == tf.TensorSpec([5], tf.int32)
    batches = _take(dataset, 5)
    images = np.concatenate([x for x, _ in batches])
    assert images.min() >= -1
    assert images.max() <= 1
    np.testing.assert_array_equal(
        images, _pixels(images).astype(np.float32) / 127.5 - 1
    )
    if "tfds" in mode:
        return
    pairs = zip(*make_synthetic_images(23, 32), strict=True)
    expected = {image.tobytes(): label for image, label in pairs}
    for image, label in zip(
        _pixels(images), np.concatenate([y for _, y in batches]), strict=True
    ):
        assert expected[image.tobytes()] == label


def test_labels_are_zeros_when_not_used(folder):
    dataset = _open("synthetic", folder)
    assert dataset.label_histogram is None
    assert not np.concatenate([y for _, y in _take(dataset, 5)]).any()


@pytest.mark.parametrize("mode", ["synthetic", "tfds stream"])
def test_flips_are_mirror_images_where_the_hash_says(mode, folder):
    plain = np.concatenate([x for x, _ in _take(_open(mode, folder), 20)])
    flipped = _open(mode, folder, flip=True)
    flipped = np.concatenate([x for x, _ in _take(flipped, 20)])
    chosen = np.concatenate([flips(np.int64(k), 5, 3) for k in range(20)])
    assert 35 <= chosen.sum() <= 65
    np.testing.assert_array_equal(flipped[~chosen], plain[~chosen])
    np.testing.assert_array_equal(flipped[chosen], plain[chosen][:, :, ::-1])


def test_flips_are_fair_and_independent():
    def draw(seed):
        return np.stack([flips(np.int64(k), 64, seed) for k in range(500)])

    chosen, other = draw(0).astype(float), draw(1).astype(float)
    # Five standard errors among 32,000.
    assert chosen.mean() == pytest.approx(0.5, abs=0.014)
    flat = chosen.ravel()
    for lag in (1, 2, 64, 640):
        assert abs(np.corrcoef(flat[:-lag], flat[lag:])[0, 1]) < 0.028
    assert abs(np.corrcoef(flat, other.ravel())[0, 1]) < 0.028


def test_orders_of_epochs_and_seeds_are_unrelated():
    size = 1000
    orders = [
        list(
            example_order(size, seed, epoch * size)
            .take(size)
            .as_numpy_iterator()
        )
        for epoch in (0, 1, 2**40)
        for seed in (0, 1, 2**40)
    ]
    for order in orders:
        assert sorted(order) == list(range(size))
    for one, other in itertools.combinations(orders, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.16


@pytest.mark.parametrize("mode", ["synthetic", "tfds stream"])
def test_order_hangs_on_the_seed_alone(mode, folder):
    tf.random.set_seed(1)
    one = _take(_open(mode, folder), 3)
    tf.random.set_seed(2)
    same = _take(_open(mode, folder), 3)
    other = _take(_open(mode, folder, seed=4), 3)
    np.testing.assert_array_equal(one[2][0], same[2][0])
    assert (one[2][0] != other[2][0]).any()


def test_far_positions_cost_nothing(folder):
    dataset = _open("synthetic", folder)
    (images, _), *_ = _take(dataset, 1, first=10**9)
    assert np.isfinite(images).all()


@needs_tfds
def test_under_op_determinism():
    # Op determinism cannot be undone: it needs a process of its own.
    code = f"""
import tensorflow as tf
tf.keras.utils.set_random_seed(1)
tf.config.experimental.enable_op_determinism()
from sagan.data import make_dataset
for name, cache in (("cifar10", True), ("cifar10", False), ("synthetic", True)):
    kwargs = {{}} if name == "synthetic" else {{"split": "train[:200]"}}
    data = make_dataset(name, 32, 64, cache=cache, flip=True,
                        data_dir={str(TFDS)!r}, **kwargs)
    one = list(data.batches().take(5))[4][0]
    two = next(iter(data.batches(first=4)))[0]
    assert (one == two).numpy().all()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("cache", [True, False])
def test_exit_with_a_live_iterator_ends(folder, cache):
    # An iterator that lives to the end, as after an error, must not hang it.
    code = f"""
from sagan.data import make_dataset
data = make_dataset("folder:{folder}", 32, 5, cache={cache}, flip=True)
iterator = iter(data.batches())
next(iterator)
raise KeyboardInterrupt
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
        timeout=60,
    )
    assert "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (
            {"image_size": 0},
            "image_size is 0: expected an integer of at least 1",
        ),
        (
            {"image_size": 32.0},
            "make_dataset.image_size is 32.0: expected an integer",
        ),
        ({"batch_size": True}, "batch_size is .*: expected an integer"),
        ({"batch_size": -1}, "batch_size is .*: expected an integer"),
        ({"seed": -1}, "seed is -1: expected an integer of at least 0"),
        ({"channels": 4}, r"channels must be 1 \(grey\) or 3 \(RGB\), got 4"),
        ({"channels": 1}, "about colour: it needs channels=3"),
        ({"num_classes": 3}, "has 4 classes.*num_classes = 4"),
        ({"num_examples": 10}, "10 images, fewer than one batch of 16"),
        ({"name": ""}, "name must be"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"image_size": 8}, "at least 16 pixels"),
        (
            {"name": "synthetic_positions", "num_classes": 3},
            "'synthetic_positions' has 4 classes",
        ),
        ({"name": "cifar10", "num_examples": 9}, r"split='train\[:9\]'"),
    ],
)
def test_wrong_arguments(kwargs, message):
    good = {"name": "synthetic", "image_size": 32, "batch_size": 16}
    with pytest.raises(ValueError, match=message):
        make_dataset(**{**good, **kwargs})


def test_cache_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(cache, "_available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"100\.0 GB.*cache = False") as info:
        cache.check_memory(10**6, (1, 10**5, 1))
    assert "0.0 GB" in str(info.value)
    with pytest.raises(MemoryError, match="10000 images of 32x32x3"):
        make_dataset("synthetic", image_size=32, batch_size=16)


def test_gin_binds_and_requires():
    gin.clear_config()
    with pytest.raises(RuntimeError, match="Required bindings"):
        make_dataset()
    gin.parse_config(
        "make_dataset.name = 'synthetic'\nmake_dataset.image_size = 32\n"
        "make_dataset.batch_size = 4\nmake_dataset.num_examples = 16"
    )
    assert make_dataset(data_dir=None, download=False).size == 16
    gin.clear_config()
