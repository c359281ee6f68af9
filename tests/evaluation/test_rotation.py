"""Features of data without labels: a network that learns rotations."""

import dataclasses

import gin
import numpy as np
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.data import make_dataset
from sagan.evaluation.classifier_batches import turned_batches
from sagan.evaluation.classifier_training import train_classifier
from sagan.evaluation.compatibility import check_network
from sagan.evaluation.features import open_features

BINDINGS = (
    "EPOCHS = 1",
    "BATCH_SIZE = 16",
    "IMAGE_SIZE = 32",
    "PRECISION = 'float32'",
    "make_dataset.name = 'synthetic'",
    "make_dataset.num_examples = 64",
    "build_classifier.stages = ((4,), (8,))",
    "train_classifier.minimum_accuracy = 0.0",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("rotation")
    parse_config(["configs/classifier_celeba.gin"], BINDINGS)
    train_classifier(str(workdir))
    gin.clear_config()
    return workdir


def test_images_are_turned_as_their_labels_say():
    images = np.random.default_rng(0).normal(size=(2, 7, 4, 4, 3))
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros([2, 7])))
    for batch, (turned, labels) in enumerate(turned_batches(data)):
        np.testing.assert_array_equal(labels, (np.arange(7) + batch) % 4)
        for before, after, label in zip(
            images[batch], turned, labels.numpy(), strict=True
        ):
            np.testing.assert_array_equal(after, np.rot90(before, label))


def test_its_features_score_but_its_logits_do_not(folder):
    network = open_features(folder)
    assert network.name == "rotation-synthetic"
    features, logits = network.embed(tf.zeros([2, 32, 32, 3]))
    assert features.shape == (2, 128)
    assert logits is None


def test_it_fits_data_with_and_without_labels(folder):
    network = open_features(folder)
    for num_classes in (0, 4):
        dataset = make_dataset(
            name="synthetic", image_size=32, batch_size=4, num_examples=8,
            num_classes=num_classes,
        )  # fmt: skip
        check_network(network, dataset, "train", found_by_name=True)


def test_labels_are_needed_without_it(tmp_path):
    parse_config(
        ["configs/classifier_celeba.gin"],
        [*BINDINGS, "train_classifier.targets = 'labels'"],
    )
    with pytest.raises(ValueError, match="targets to 'rotation' if it has no"):
        train_classifier(str(tmp_path / "run"))
    gin.clear_config()


def test_a_classifier_that_does_not_name_its_data_is_warned_of(folder, caplog):
    network = dataclasses.replace(open_features(folder), data=None)
    dataset = make_dataset(
        name="synthetic", image_size=32, batch_size=4, num_examples=8
    )
    check_network(network, dataset, "train", found_by_name=True)
    assert "does not say which data it was trained on" in caplog.text
