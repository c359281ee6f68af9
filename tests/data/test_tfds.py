"""TFDS datasets: true-schema fakes, the development data, each error."""

import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.tfds_builders import make_builder

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TFDS = REPOSITORY / ".." / "shared" / "data" / "tfds"


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
    grey = rng.integers(0, 256, [20, 28, 28, 1], np.uint8)
    examples = [{"image": x, "label": i % 10} for i, x in enumerate(grey)]
    write_fake("fashion_mnist", str(root), examples)
    return root, image, grey


@pytest.mark.parametrize("cache", [True, False])
def test_celeb_a_is_cropped_to_178(fakes, cache):
    root, image, _ = fakes
    dataset = make_dataset(
        "celeb_a", image_size=64, batch_size=4, cache=cache, data_dir=str(root)
    )
    images, labels = next(iter(dataset.batches()))
    square = Image.fromarray(image[20:198]).resize((64, 64), Image.BILINEAR)
    expected = np.array(square) / 127.5 - 1
    # JPEG loses some at the red border; the crop of 178 leaves it out.
    difference = np.abs(images[0].numpy() - expected)
    assert difference[2:-2].max() < 0.05
    assert not labels.numpy().any()
    wide = make_dataset(
        "celeb_a",
        image_size=64,
        batch_size=4,
        cache=cache,
        crop_size=100,
        data_dir=str(root),
    )
    cropped = next(iter(wide.batches()))[0][0].numpy()
    square = Image.fromarray(image[59:159, 39:139]).resize((64, 64), 2)
    np.testing.assert_allclose(cropped, np.array(square) / 127.5 - 1, atol=0.05)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_and_labels(fakes, cache, channels):
    root, _, grey = fakes
    dataset = make_dataset(
        "fashion_mnist",
        image_size=28,
        batch_size=20,
        channels=channels,
        num_classes=10,
        cache=cache,
        data_dir=str(root),
    )
    if cache:
        assert dataset.label_histogram.tolist() == [2] * 10
    else:
        assert dataset.label_histogram is None
    images, labels = next(iter(dataset.batches()))
    pixels = np.rint((images.numpy() + 1) * 127.5).astype(np.uint8)
    expected = {x.tobytes(): i % 10 for i, x in enumerate(grey)}
    for image, label in zip(pixels, labels.numpy(), strict=True):
        assert expected[image[..., :1].tobytes()] == label
        assert (image == image[..., :1]).all()


@pytest.mark.skipif(not TFDS.is_dir(), reason=f"no development data at {TFDS}")
def test_cifar10_pixels_are_those_of_tfds():
    dataset = make_dataset(
        "cifar10",
        image_size=32,
        batch_size=50,
        split="train[:50]",
        num_classes=10,
        data_dir=str(TFDS),
    )
    theirs = tfds.load(
        "cifar10", split="train[:50]", data_dir=TFDS, download=False
    )
    expected = {x["image"].numpy().tobytes(): int(x["label"]) for x in theirs}
    images, labels = next(iter(dataset.batches()))
    pixels = np.rint((images.numpy() + 1) * 127.5).astype(np.uint8)
    keys = [image.tobytes() for image in pixels]
    found = dict(zip(keys, labels.numpy().tolist(), strict=True))
    assert found == expected


def _open(name, data_dir, **kwargs):
    return make_dataset(name, 32, 4, data_dir=str(data_dir), **kwargs)


def test_not_prepared_says_how_to_prepare(tmp_path):
    with pytest.raises(FileNotFoundError) as info:
        _open("fashion_mnist", tmp_path)
    message = str(info.value)
    assert str(tmp_path) in message
    assert "--download" in message
    load = f"tfds.load('fashion_mnist', data_dir='{tmp_path}')"
    assert load in message
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_in_the_temporary_folder(tmp_path, monkeypatch):
    temporary, data_dir = tmp_path / "temporary", tmp_path / "data"
    temporary.mkdir()
    data_dir.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with pytest.raises(FileNotFoundError, match="not prepared"):
        _open("fashion_mnist", data_dir)
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
    ],
)
def test_unknown_name_suggests_near_ones(tmp_path, name, near):
    with pytest.raises(ValueError, match=f"{name}.*close to it: .*{near}") as e:
        _open(name, tmp_path)
    assert len(str(e.value)) < 500


def test_unknown_split(fakes):
    with pytest.raises(ValueError, match=r"no split 'nope'; it has \['train'"):
        _open("celeb_a", fakes[0], split="nope")


def test_missing_data_dir(tmp_path):
    with pytest.raises(FileNotFoundError, match="data_dir .*does not exist"):
        _open("cifar10", tmp_path / "nowhere")


def test_dataset_without_images(tmp_path):
    with pytest.raises(ValueError, match="no feature 'image'.*folder:PATH"):
        _open("imdb_reviews", tmp_path)


def test_wrong_number_of_classes(fakes):
    with pytest.raises(ValueError, match="has 10 classes.*num_classes = 10"):
        _open("fashion_mnist", fakes[0], num_classes=7)
    with pytest.raises(ValueError, match="no class labels"):
        _open("celeb_a", fakes[0], num_classes=10)


def test_fewer_images_than_a_batch(fakes):
    with pytest.raises(ValueError, match="3 images, fewer than one batch of 4"):
        _open("celeb_a", fakes[0], split="train[:3]")


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


@pytest.mark.parametrize("cache", [True, False])
def test_examples_without_a_class(tmp_path, cache):
    image = np.random.default_rng(0).integers(0, 256, [28, 28, 1], np.uint8)
    examples = [{"image": image, "label": -1}] * 4
    write_fake("fashion_mnist", str(tmp_path), examples)
    with pytest.raises(ValueError, match="without a class .label -1"):
        _open("fashion_mnist", tmp_path, num_classes=10, cache=cache)
    assert _open("fashion_mnist", tmp_path, cache=cache).size == 4
