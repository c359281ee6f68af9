"""The Inception loader, on a small graph with the tensor names of the real."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.evaluation import inception
from sagan.evaluation.features import open_features
from sagan.evaluation.inception import PREPROCESSING, fetch_inception
from sagan.runs.files import file_sha256


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 16)), rng.normal(size=(16, 8))


@pytest.fixture(scope="module")
def graph(tmp_path_factory, weights):
    """Scaled pixels to their mean colour, 16 features and 8 logits."""
    with tf.Graph().as_default() as made:
        first, classes = (tf.constant(w, tf.float32) for w in weights)
        one = tf.compat.v1.placeholder(tf.float32, [1, 299, 299, 3], "images")
        # As in the real graph, a batch of one is written in.
        pixels = tf.multiply(one, 1.0, name="Mul")
        features = tf.nn.relu(
            tf.nn.conv2d(pixels, first[None, None], 1, "SAME")
        )
        pooled = tf.reduce_mean(features, [1, 2], keepdims=True, name="pool_3")
        flat = tf.reshape(pooled, [1, 16], name="pool_3/_reshape")
        with tf.name_scope("softmax"):
            with tf.name_scope("logits"):
                product = tf.matmul(flat, classes, name="MatMul")
            tf.add(product, 100.0, name="biased")
    path = tmp_path_factory.mktemp("inception") / "classify_image_graph_def.pb"
    path.write_bytes(made.as_graph_def().SerializeToString())
    return path


def test_features_and_logits_are_those_of_the_graph(graph, weights):
    network = open_features(graph)
    assert network.name == "inception-2015-12-05"
    assert network.sha256 == file_sha256(graph)
    images = tf.random.stateless_uniform([5, 299, 299, 3], [0, 1], -1.0, 1.0)
    features, logits = network.embed(images)
    pixels = ((images.numpy() + 1.0) * 127.5 - 128.0) / 128.0
    expected = np.maximum(pixels @ weights[0], 0.0).mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    # Without the bias, as published scores are.
    np.testing.assert_allclose(logits, expected @ weights[1], atol=1e-4)


def test_logits_with_the_bias_of_the_graph(graph):
    images = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1], -1.0, 1.0)
    _, logits = open_features(graph).embed(images)
    _, biased = open_features(graph, biased=True).embed(images)
    np.testing.assert_allclose(biased, logits + 100.0, atol=1e-4)


@pytest.mark.parametrize("name", PREPROCESSING)
def test_each_way_of_resizing_is_told_apart(graph, name):
    network = open_features(graph, name)
    assert network.resize == PREPROCESSING[name][0]
    assert network.variant == ("" if name == "tensorflow" else name)
    both = open_features(graph, name, biased=True).variant
    assert both == f"{name}-biased".removeprefix("tensorflow-")


def test_images_of_any_size_and_grey_ones_are_embedded(graph):
    network = open_features(graph)
    for shape in ((2, 32, 32, 3), (3, 64, 64, 1)):
        images = tf.random.stateless_uniform(shape, [0, 1], -1.0, 1.0)
        features, logits = network.embed(images)
        assert features.shape == (shape[0], 16)
        assert logits.shape == (shape[0], 8)


@pytest.mark.parametrize("content", [b"no graph", b""])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "other.pb"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no frozen Inception graph"):
        open_features(path)


def test_what_was_fetched_is_used_offline_and_checked(
    graph, tmp_path, monkeypatch
):
    fetched = []

    def fetch(path):
        fetched.append(path)
        path.write_bytes(graph.read_bytes())

    monkeypatch.setattr(inception, "_fetch", fetch)
    path = fetch_inception(tmp_path)
    assert fetch_inception(tmp_path) == path
    assert len(fetched) == 1
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="has not the SHA-256"):
        fetch_inception(tmp_path)


def test_a_download_that_fails_says_what_to_do(tmp_path, monkeypatch):
    def get_file(**_):
        raise OSError("no route")

    monkeypatch.setattr(inception.keras.utils, "get_file", get_file)
    with pytest.raises(ValueError, match="cannot be fetched .*no route.*path"):
        fetch_inception(tmp_path)
    assert list(tmp_path.iterdir()) == []
