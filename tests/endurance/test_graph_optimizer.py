"""TensorFlow's optimisers of graphs: none gives up on a network's graph.

Its remapper, which merges convolutions with what follows, does where a sum is
read by ReLU and by a shortcut, and says so in an error line.
"""

import pytest
import tensorflow as tf
from tiny_gan import make_batch, make_gan

from sagan.layers import elementwise, spectral_norm
from sagan.profiling.step import REWRITES

NETWORK = {
    name: False
    for name, functions in REWRITES.items()
    if functions == ("build_generator", "build_discriminator")
}
GAVE_UP = "remapper failed"


def errors(capfd, **settings):
    """What TensorFlow writes during a step and as both networks are used."""
    gan = make_gan(**settings)
    images, labels = make_batch()
    gan.train_steps([(images, labels)])
    generate = tf.function(gan.generator)
    generate(tf.zeros([4, 8]), labels[0])
    tf.function(gan.discriminator)(images[0], labels[0])
    return capfd.readouterr().err


@pytest.mark.parametrize(
    "settings",
    [
        {},
        NETWORK,
        {"precision": "mixed_bfloat16"},
        {**NETWORK, "precision": "mixed_bfloat16"},
        {"block": "bottleneck"},
        {"block": "separable"},
        {"block": "inception", "base_channels": 4},
        {"block": "nin"},
        {"recalibrate": True},
    ],
    ids=str,
)
def test_no_network_makes_the_remapper_give_up(settings, capfd):
    assert GAVE_UP not in errors(capfd, **settings)


def test_it_would_with_the_biases_of_the_framework(capfd, monkeypatch):
    """Its pattern: with biases in this form the test above fails."""

    def shift(inputs, bias):
        bias = tf.cast(bias, inputs.dtype)
        if bias.shape.rank == 1:
            return tf.nn.bias_add(inputs, bias)
        return inputs + bias

    for module in (elementwise, spectral_norm):
        monkeypatch.setattr(module, "shift", shift)
    assert GAVE_UP in errors(capfd, **NETWORK)
