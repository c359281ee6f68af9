"""The classifier's network, and its files: bitwise equal, or refused."""

import json
import shutil

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
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise

RESULTS = {
    "dataset": "synthetic",
    "test_accuracy": 0.875,
    "num_test_images": 64,
    "minimum_accuracy": 0.8,
}


def make_network(image_size=16, channels=1, **kwargs):
    kwargs = {"stages": ((4, 6),), "feature_dim": 5} | kwargs
    network = ClassifierNetwork(image_size, channels, num_classes=3, **kwargs)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return network


def make_images(network, batch=3):
    return tf.random.stateless_uniform(
        [batch, *network.image_shape], [1, 2], -1, 1
    )


@pytest.fixture(scope="module")
def network():
    return make_network()


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    """A classifier on disk, to be read only."""
    folder = tmp_path_factory.mktemp("classifier")
    save_classifier(folder, network, **RESULTS, seconds=1.5)
    return folder


@pytest.fixture
def workdir(folder, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(folder, tmp_path / "classifier")


@pytest.mark.parametrize(
    ("image_size", "channels", "precision"),
    [(32, 3, "float32"), (64, 1, "mixed_bfloat16")],
)
def test_features_and_logits_are_finite_float32(
    image_size, channels, precision
):
    stages = ((4,), (8, 8))
    network = ClassifierNetwork(
        image_size, channels, 5, stages, 6, dropout=0.5, precision=precision
    )
    images = make_images(network)
    features, logits = network.embed(images)
    assert features.shape == (3, 6)
    assert logits.shape == (3, 5)
    assert features.dtype == logits.dtype == tf.float32
    assert np.isfinite(features).all()
    assert np.min(features) >= 0
    assert np.std(features, axis=0).max() > 0
    np.testing.assert_array_equal(network(images), logits)
    assert all(weight.dtype == "float32" for weight in network.weights)
    # The head is linear in the features.
    kernel, bias = network.head.get_weights()
    np.testing.assert_allclose(
        logits, features.numpy() @ kernel + bias, rtol=1e-5, atol=1e-6
    )


def test_features_do_not_depend_on_the_rest_of_the_batch():
    network = make_network()
    images = make_images(network, batch=5)
    # Moments of a batch, as training leaves them.
    network(images, training=True)
    whole, _ = network.embed(images)
    one, _ = network.embed(images[2:3])
    np.testing.assert_allclose(one[0], whole[2], rtol=1e-4, atol=1e-6)


def test_every_pointwise_implementation_reads_the_weights(network, folder):
    images = make_images(network)
    expected = network.embed(images)[0]
    for name in IMPLEMENTATIONS:
        other = make_network(pointwise=name)
        other.load_weights(folder / WEIGHTS_FILE)
        np.testing.assert_allclose(
            other.embed(images)[0], expected, rtol=1e-5, atol=1e-6
        )


def test_the_pointwise_layer_reduces_channels_before_the_head():
    network = make_network(
        channels=3, stages=((4,), (16,)), feature_dim=3, dropout=0.25
    )
    layers = [
        layer for layer in network.trunk.layers if isinstance(layer, Pointwise)
    ]
    assert [layer.kernel.shape for layer in layers] == [(1, 1, 16, 3)]
    assert not layers[0].spectral_norm
    assert network.head.weights[0].shape == (3, 3)
    # 3x3 kernels, gains and biases, the 1x1 kernel, and the head.
    trained = 9 * (3 * 4 + 4 * 16) + 2 * (4 + 16 + 3) + 16 * 3 + 3 * 3 + 3
    assert trained == sum(
        int(np.prod(weight.shape)) for weight in network.trainable_weights
    )
    # Its description makes it again.
    again = ClassifierNetwork(**network.description)
    assert again.description == network.description
    shapes = [weight.shape for weight in network.weights]
    assert [weight.shape for weight in again.weights] == shapes


def test_what_is_loaded_is_bitwise_what_was_saved(folder, network):
    classifier = load_classifier(folder)
    for ours, theirs in zip(
        classifier.network.weights, network.weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    images = make_images(network)
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
    for shape in ((16, 16, 3), (32, 32, 1)):
        what = "x".join(map(str, shape))
        with pytest.raises(ValueError, match=f"are {what}, .* embeds 16x16x1"):
            classifier.embed(tf.zeros([2, *shape]))


def test_the_same_weights_make_the_same_file(folder, tmp_path):
    save_classifier(tmp_path, make_network(), **RESULTS)
    ours, theirs = (path / WEIGHTS_FILE for path in (tmp_path, folder))
    assert ours.read_bytes() == theirs.read_bytes()


def refusal(workdir):
    with pytest.raises(ValueError, match=".") as error:
        load_classifier(workdir)
    return str(error.value)


def test_a_folder_without_a_finished_one_is_refused(workdir, tmp_path):
    message = refusal(tmp_path / "nothing")
    assert "no finished classifier" in message
    assert f"--workdir={tmp_path / 'nothing'}" in message
    (workdir / CLASSIFIER_FILE).unlink()
    assert "no finished classifier" in refusal(workdir)


def test_damaged_weights_are_refused(workdir):
    path = workdir / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "are damaged: their SHA-256" in refusal(workdir)
    path.unlink()
    assert "SHA-256 is missing" in refusal(workdir)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '"x"'])
def test_a_damaged_record_is_refused(workdir, text):
    (workdir / CLASSIFIER_FILE).write_text(text)
    message = refusal(workdir)
    assert "classifier.json is damaged" in message
    assert "Train it again" in message


def edit(workdir, **changes):
    path = workdir / CLASSIFIER_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_record_of_another_network_is_refused(workdir, network):
    for change in ({"stages": [[4, 8]]}, {"channels": 3}, {"depth": 2}):
        edit(workdir, network=network.description | change)
        message = refusal(workdir)
        assert "does not describe the network of its weights" in message


def test_too_low_an_accuracy_is_refused(workdir):
    edit(workdir, test_accuracy=0.79)
    message = refusal(workdir)
    assert "right on 79.00% of 64 test images, required are 80.00%" in message
    assert "Train longer" in message
    edit(workdir, test_accuracy=float("nan"))
    assert "required are 80.00%" in refusal(workdir)
    edit(workdir, test_accuracy=0.8)
    assert load_classifier(workdir).test_accuracy == 0.8
