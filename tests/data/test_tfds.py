"""TFDS datasets: fakes of the true schema, damaged ones, each error."""

import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.tfds_builders import make_builder

FASHION = "fashion_mnist/3.0.1"
RECORDS = f"{FASHION}/fashion_mnist-train.tfrecord-00000-of-00001"

both_modes = pytest.mark.parametrize("cache", [True, False])


def _celeb_a_example(image):
    features = make_builder("celeb_a").info.features
    return {
        "image": image,
        "attributes": dict.fromkeys(features["attributes"], False),
        "landmarks": dict.fromkeys(features["landmarks"], 0),
        **({"identity": {"Identity_No": 1}} if "identity" in features else {}),
    }


@pytest.fixture(scope="module")
def fakes(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    # Red above and below the centre square that is customarily kept.
    image = np.zeros([218, 178, 3], np.uint8)
    image[..., 0] = 255
    image[20:198] = np.linspace(60, 180, 178)[:, None].astype(np.uint8)
    write_fake("celeb_a", str(root), [_celeb_a_example(image)] * 4)
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, [80, 28, 28, 1], np.uint8)
    examples = [{"image": x, "label": i % 10} for i, x in enumerate(grey)]
    write_fake("fashion_mnist", str(root), examples)
    return root, image, grey


def _open(name, data_dir, size=28, batch_size=4, **kwargs):
    return make_dataset(
        name, size, batch_size, data_dir=str(data_dir), **kwargs
    )


@both_modes
def test_celeb_a_is_cropped_to_178(fakes, cache):
    root, image, _ = fakes
    dataset = _open("celeb_a", root, 64, cache=cache)
    images, labels = next(iter(dataset.batches()))
    square = Image.fromarray(image[20:198]).resize((64, 64), Image.BILINEAR)
    expected = np.array(square) / 127.5 - 1
    # JPEG loses some at the red border; the crop of 178 leaves it out.
    difference = np.abs(images[0].numpy() - expected)
    assert difference[2:-2].max() < 0.05
    assert not labels.numpy().any()
    wide = _open("celeb_a", root, 64, cache=cache, crop_size=100)
    cropped = next(iter(wide.batches()))[0][0].numpy()
    square = Image.fromarray(image[59:159, 39:139]).resize((64, 64), 2)
    np.testing.assert_allclose(cropped, np.array(square) / 127.5 - 1, atol=0.05)


@pytest.mark.parametrize(("channels", "cache"), [(1, True), (3, False)])
def test_grey_images_and_labels_are_those_of_tfds(fakes, channels, cache):
    root, _, grey = fakes
    settings = {"channels": channels, "num_classes": 10, "cache": cache}
    dataset = _open("fashion_mnist", root, batch_size=80, **settings)
    if cache:
        assert dataset.label_histogram.tolist() == [8] * 10
    else:
        assert dataset.label_histogram is None
    images, labels = next(iter(dataset.batches()))
    pixels = np.rint((images.numpy() + 1) * 127.5).astype(np.uint8)
    assert (pixels == pixels[..., :1]).all()
    keys = [image[..., :1].tobytes() for image in pixels]
    found = dict(zip(keys, labels.numpy().tolist(), strict=True))
    assert found == {x.tobytes(): i % 10 for i, x in enumerate(grey)}
    theirs = tfds.load(
        "fashion_mnist", split="train", data_dir=root, download=False
    )
    assert found == {
        x["image"].numpy().tobytes(): int(x["label"]) for x in theirs
    }


def test_not_prepared_says_how_to_prepare(tmp_path, monkeypatch):
    temporary, data_dir = tmp_path / "temporary", tmp_path / "data"
    temporary.mkdir()
    data_dir.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(FileNotFoundError) as info:
        _open("fashion_mnist", data_dir)
    message = str(info.value)
    assert str(data_dir) in message
    assert "--download" in message
    load = f"tfds.load('fashion_mnist', data_dir='{data_dir}')"
    assert load in message
    assert list(data_dir.iterdir()) == []
    # Nothing stays in the temporary folder.
    make_builder("celeb_a")
    assert list(temporary.iterdir()) == []


def test_manual_instructions_are_passed_on(tmp_path):
    with pytest.raises(FileNotFoundError, match="ILSVRC2012_img_train.tar"):
        _open("imagenet2012", tmp_path)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("celeba", "celeb_a"),
        ("lsun/bedrom", "lsun/bedroom"),
        ("qqq", "nothing"),
        # A name that is a path is no dataset.
        *((name, "") for name in ("../../x", "/etc/x", "x\n../y", "a\0b")),
        *((name, "") for name in ("cifar10/../x", "mnist:9.9.9")),
    ],
)
def test_unknown_name_suggests_near_ones(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"close to it: .*{near}") as info:
        _open(name, tmp_path)
    assert len(str(info.value)) < 600
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_named(fakes, tmp_path):
    root = fakes[0]
    with pytest.raises(ValueError, match=r"no split 'nope'; it has \['train'"):
        _open("celeb_a", root, split="nope")
    with pytest.raises(FileNotFoundError, match="data_dir .*does not exist"):
        _open("cifar10", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no feature 'image'.*folder:PATH"):
        _open("imdb_reviews", tmp_path)
    with pytest.raises(ValueError, match="has 10 classes.*num_classes = 10"):
        _open("fashion_mnist", root, num_classes=7)
    with pytest.raises(ValueError, match="no class labels"):
        _open("celeb_a", root, num_classes=10)
    with pytest.raises(ValueError, match="3 images, fewer than one batch of 4"):
        _open("celeb_a", root, split="train[:3]")


@pytest.mark.parametrize("name", ["fashion_mnist", "lsun/bedroom"])
def test_failed_download_is_explained_and_cleaned_up(
    tmp_path, monkeypatch, name
):
    def fail(self, **kwargs):
        pathlib.Path(self.data_dir).mkdir(parents=True)
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(RuntimeError, match="no route to host(.|\n)*folder:"):
        _open(name, tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


@both_modes
def test_examples_without_a_class(tmp_path, cache):
    image = np.random.default_rng(0).integers(0, 256, [28, 28, 1], np.uint8)
    examples = [{"image": image, "label": -1}] * 4
    write_fake("fashion_mnist", str(tmp_path), examples)
    with pytest.raises(ValueError, match="without a class .label -1"):
        _open("fashion_mnist", tmp_path, num_classes=10, cache=cache)
    assert _open("fashion_mnist", tmp_path, cache=cache).size == 4


@pytest.fixture
def prepared(fakes, tmp_path):
    """A copy of a dataset, to be damaged."""
    shutil.copytree(fakes[0] / FASHION, tmp_path / FASHION)
    return tmp_path


def _cut(path):
    path.write_bytes(path.read_bytes()[:-500])


def _end_early(path):
    records = tf.data.TFRecordDataset(path).take(79)
    _write(path, list(records.as_numpy_iterator()))


def _flip(path):
    records = bytearray(path.read_bytes())
    records[-500] ^= 1
    path.write_bytes(records)


def _damage_image(path):
    records = list(tf.data.TFRecordDataset(path).as_numpy_iterator())
    example = tf.train.Example.FromString(records[-1])
    example.features.feature["image"].bytes_list.value[0] = b"no image"
    records[-1] = example.SerializeToString()
    _write(path, records)


def _write(path, records):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


@pytest.mark.parametrize(
    ("fault", "cache", "message"),
    [
        (_cut, True, "truncated record at"),
        (_cut, False, "truncated record at"),
        (_end_early, False, "contain 80 elements but contained only 79"),
        (_flip, True, "corrupted record at"),
        (pathlib.Path.unlink, False, "00000-of-00001; No such"),
        (_damage_image, False, "image"),
    ],
)
def test_damaged_tfds_files(prepared, fault, cache, message):
    fault(prepared / RECORDS)

    def read():
        dataset = _open("fashion_mnist", prepared, cache=cache)
        list(dataset.checked(dataset.one_pass()))

    with pytest.raises(OSError, match=message) as info:
        read()
    text = str(info.value).split("\n  In call to configurable")[0]
    assert text.startswith(f"Dataset {FASHION} in '{prepared / FASHION}'")
    assert f"delete '{prepared / FASHION}' and add --download" in text
    assert "\n" not in text
    assert "{{" not in text


def test_a_damaged_description_names_its_folder(prepared):
    path = prepared / FASHION / "dataset_info.json"
    folder = prepared / "fashion_mnist"
    for damage in (path.read_text()[:200], "", json.dumps([])):
        path.write_text(damage)
        with pytest.raises(OSError, match=f"damaged.*delete '{folder}'"):
            _open("fashion_mnist", prepared)


def test_tfds_files_deleted_between_epochs(prepared):
    dataset = _open("fashion_mnist", prepared, cache=False)
    batches = dataset.checked(dataset.batches())
    next(batches)
    shutil.rmtree(prepared / "fashion_mnist")
    with pytest.raises(OSError, match="00000-of-00001; No such file"):
        list(itertools.islice(batches, 1000))
