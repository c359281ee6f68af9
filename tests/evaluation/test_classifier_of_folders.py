"""A classifier of image folders: what tests it, and images that changed."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sagan.config import parse_config
from sagan.evaluation.classifier_training import train_classifier

BINDINGS = (
    "EPOCHS = 1",
    "BATCH_SIZE = 4",
    "NUM_CLASSES = 2",
    "PRECISION = 'float32'",
    "build_classifier.stages = ((2,),)",
    "build_classifier.feature_dim = 2",
    "train_classifier.minimum_accuracy = 0.0",
)


def _save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, [8, 8, 3], np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def images(tmp_path):
    for number, name in enumerate(
        ["train/cat", "train/dog", "test/cat", "test/dog", "odd/cow", "odd/pig"]
        + ["more/cat", "more/cow", "more/dog", "few/cat", "few/dog"]
    ):
        for i in range(1 if name.startswith("few") else 4):
            _save(tmp_path / name / f"{i}.bmp", 10 * number + i)
    return tmp_path


def _train(images, test_data=None, train="train", workdir="run"):
    bindings = [*BINDINGS, f"make_dataset.name = 'folder:{images / train}'"]
    if test_data:
        test_data = test_data.format(images)
        bindings.append(f"train_classifier.test_data = {test_data!r}")
    parse_config(["configs/classifier_cifar10.gin"], bindings)
    return train_classifier(str(images / workdir))


def test_images_to_test_on_are_required(images):
    with pytest.raises(ValueError, match="no split to test on.*test_data"):
        _train(images)
    assert not (images / "run").exists()


@pytest.mark.parametrize(
    ("test_data", "message"),
    [
        ("folder:{}/nothing", "No folder '.*/nothing': 'folder:PATH' needs"),
        ("folder:{}/train", "which has the images that it trains on"),
        ("folder:{}/odd", "classes cow, pig: expected .*are cat, dog. Name"),
        ("folder:{}/more", "classes cat, cow, dog: expected .*are cat, dog"),
        ("folder:{}/train/cat", "classes none: expected .*are cat, dog"),
        ("folder:{}/few", "has 2 images, fewer than one batch of 4"),
        ("folder:", "'folder:' without a path"),
        ("folder:s3://x", "PATH of 'folder:PATH' is 's3://x'"),
        ("minst", "knows no dataset 'minst'"),
        ("synthetic", "synthetic images have a test split: leave it out"),
    ],
)
def test_wrong_images_to_test_on_are_named(images, test_data, message):
    with pytest.raises(ValueError, match=message) as error:
        _train(images, test_data)
    assert str(error.value).startswith("train_classifier.test_data is ")
    assert "num_classes" not in str(error.value)
    assert not (images / "run").exists()


def test_a_finished_one_is_of_the_images_that_it_has_learnt(images, caplog):
    test = "folder:{}/test"
    first = _train(images, test)
    assert first.num_test_images == 8
    assert first.data["classes"] == ["cat", "dog"]
    shutil.copytree(images / "train", images / "copy")
    again = _train(images, test, train="copy")
    assert again.weights_sha256 == first.weights_sha256
    _save(images / "copy/cat/0.bmp", 99)
    with pytest.raises(ValueError, match="of other images: .*'cat/0.bmp' of "):
        _train(images, test, train="copy")
    shutil.rmtree(images / "train")
    assert _train(images, test).weights_sha256 == first.weights_sha256
    assert "not compared: No folder" in caplog.text
