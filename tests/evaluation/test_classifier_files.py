"""A classifier on disk: equal to the bit, or refused with the reason."""

import json

import numpy as np
import pytest
import tensorflow as tf

from sagan.evaluation.classifier import (
    CLASSIFIER_FILE,
    WEIGHTS_FILE,
    ClassifierNetwork,
    load_classifier,
    save_classifier,
)

RESULTS = {
    "dataset": "synthetic",
    "test_accuracy": 0.875,
    "num_test_images": 64,
    "minimum_accuracy": 0.8,
}


def make_network(channels=1):
    network = ClassifierNetwork(
        16, channels, 3, stages=((4, 6),), feature_dim=5
    )
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return network


@pytest.fixture
def saved(tmp_path):
    network = make_network()
    save_classifier(tmp_path, network, **RESULTS, seconds=1.5)
    return tmp_path, network


def edit(workdir, **changes):
    path = workdir / CLASSIFIER_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_loaded_equals_what_was_saved_to_the_bit(saved):
    workdir, network = saved
    classifier = load_classifier(workdir)
    for ours, theirs in zip(
        classifier.network.weights, network.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    images = tf.random.stateless_uniform([4, 16, 16, 1], [1, 2], -1, 1)
    for ours, theirs in zip(
        classifier.embed(images), network.embed(images), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert classifier.num_classes == 3
    assert classifier.feature_dim == 5
    assert classifier.dataset == "synthetic"
    assert classifier.test_accuracy == 0.875
    assert classifier.num_test_images == 64
    assert len(classifier.weights_sha256) == 64


def test_the_same_weights_make_the_same_file(saved, tmp_path):
    first = load_classifier(saved[0]).weights_sha256
    save_classifier(tmp_path / "again", make_network(), **RESULTS)
    assert load_classifier(tmp_path / "again").weights_sha256 == first


def test_images_of_another_size_are_refused(saved):
    classifier = load_classifier(saved[0])
    with pytest.raises(ValueError, match="are 16x16x3, .* embeds 16x16x1"):
        classifier.embed(tf.zeros([2, 16, 16, 3]))
    with pytest.raises(ValueError, match="are 32x32x1, .* embeds 16x16x1"):
        classifier.embed(tf.zeros([2, 32, 32, 1]))


def refusal(workdir):
    with pytest.raises(ValueError, match=".") as error:
        load_classifier(workdir)
    return str(error.value)


def test_a_folder_without_one_is_refused(tmp_path):
    message = refusal(tmp_path / "nothing")
    assert "no finished classifier" in message
    assert f"--workdir={tmp_path / 'nothing'}" in message


def test_an_unfinished_one_is_refused(saved):
    workdir, _ = saved
    (workdir / CLASSIFIER_FILE).unlink()
    assert "no finished classifier" in refusal(workdir)


def test_one_without_its_weights_is_refused(saved):
    workdir, _ = saved
    (workdir / WEIGHTS_FILE).unlink()
    assert "SHA-256 is missing" in refusal(workdir)


def test_one_changed_bit_is_refused(saved):
    workdir, _ = saved
    path = workdir / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "are damaged: their SHA-256" in refusal(workdir)


def test_weights_of_an_interrupted_training_beside_an_old_record(saved):
    workdir, network = saved
    network.weights[0].assign_add(network.weights[0])
    network.save_weights(workdir / WEIGHTS_FILE)
    assert "are damaged: their SHA-256" in refusal(workdir)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"'])
def test_a_damaged_record_is_refused(saved, text):
    workdir, _ = saved
    (workdir / CLASSIFIER_FILE).write_text(text)
    message = refusal(workdir)
    assert "classifier.json is damaged" in message
    assert "Train it anew" in message


def test_a_record_of_another_network_is_refused(saved):
    workdir, network = saved
    for change in ({"stages": [[4, 8]]}, {"channels": 3}, {"depth": 2}):
        edit(workdir, network=network.description | change)
        message = refusal(workdir)
        assert "does not describe the network of its weights" in message


def test_too_low_an_accuracy_is_refused(saved):
    workdir, _ = saved
    edit(workdir, test_accuracy=0.79)
    message = refusal(workdir)
    assert "right on 79.00% of 64 test images, required are 80.00%" in message
    assert "Train longer" in message
    edit(workdir, test_accuracy=float("nan"))
    assert "required are 80.00%" in refusal(workdir)
    edit(workdir, test_accuracy=0.8)
    assert load_classifier(workdir).test_accuracy == 0.8


def test_a_failure_while_saving_leaves_the_old_one(saved, monkeypatch):
    workdir, network = saved
    before = load_classifier(workdir).weights_sha256

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(network, "save_weights", fail)
    with pytest.raises(OSError, match="disk full"):
        save_classifier(workdir, network, **RESULTS)
    assert load_classifier(workdir).weights_sha256 == before
