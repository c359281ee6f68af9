"""The classifier's network: features of images, whatever computes them."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.evaluation.classifier import ClassifierNetwork
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise


def make_network(image_size=32, channels=3, **kwargs):
    kwargs = {"stages": ((4,), (8, 8)), "feature_dim": 6} | kwargs
    return ClassifierNetwork(image_size, channels, num_classes=5, **kwargs)


def make_images(network, batch=3):
    return tf.random.stateless_uniform(
        [batch, *network.image_shape], [1, 2], -1, 1
    )


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("image_size", [32, 64, 128])
def test_features_and_logits_are_finite_float32(
    image_size, channels, precision
):
    network = make_network(image_size, channels, precision=precision)
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


def test_the_head_is_linear_in_the_features():
    network = make_network(dropout=0.5)
    features, logits = network.embed(make_images(network))
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


@pytest.mark.parametrize("name", sorted(IMPLEMENTATIONS))
def test_every_pointwise_implementation_gives_the_same_features(name):
    one, other = make_network(), make_network(pointwise=name)
    other.set_weights(one.get_weights())
    images = make_images(one)
    np.testing.assert_allclose(
        one.embed(images)[0], other.embed(images)[0], rtol=1e-5, atol=1e-6
    )


def test_the_pointwise_layer_reduces_channels_before_the_head():
    network = make_network(stages=((4,), (16,)), feature_dim=3)
    layers = [
        layer for layer in network.trunk.layers if isinstance(layer, Pointwise)
    ]
    assert [layer.kernel.shape for layer in layers] == [(1, 1, 16, 3)]
    assert not layers[0].spectral_norm
    assert network.head.weights[0].shape == (3, 5)
    # 3x3 kernels, gains and biases, the 1x1 kernel, and the head.
    trained = 9 * (3 * 4 + 4 * 16) + 2 * (4 + 16 + 3) + 16 * 3 + 3 * 5 + 5
    assert trained == sum(
        int(np.prod(weight.shape)) for weight in network.trainable_weights
    )


def test_its_description_makes_it_again():
    network = make_network(16, 1, stages=((4,), (8,)), dropout=0.25)
    again = ClassifierNetwork(**network.description)
    assert again.description == network.description
    shapes = [weight.shape for weight in network.weights]
    assert [weight.shape for weight in again.weights] == shapes


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="side 34 cannot be halved 2 times"):
        make_network(34)
