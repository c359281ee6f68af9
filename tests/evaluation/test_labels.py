"""Scores where some classes are rarer than others."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.evaluation.embedding import embed_images
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.samples import sample_batches
from sagan.evaluation.scores import score

COUNTS = np.array([100, 900])
SAMPLES = 2000


class PerfectGenerator:
    """Draws from the distribution of each class of `real_batches`."""

    latent_dim = 12
    num_classes = 2
    non_trainable_variables = ()

    def __call__(self, latents, labels, training=False):
        noise = 0.1 * tf.reshape(latents, [-1, 2, 2, 3])
        means = tf.cast(labels, tf.float32) - 0.5
        return noise + means[:, None, None, None]


def real_batches(counts):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    latents = rng.normal(size=(len(labels), PerfectGenerator.latent_dim))
    latents = tf.constant(latents, tf.float32)
    yield PerfectGenerator()(latents, tf.constant(labels)).numpy(), labels


@pytest.fixture(scope="module")
def network():
    def embed(images):
        return tf.reshape(images, [-1, 12]), None

    return FeatureNetwork("pixels", "0", "none", embed)


def fid(network, class_counts):
    real = embed_images(network, real_batches(2 * COUNTS), SAMPLES)
    np.testing.assert_array_equal(real.class_counts, 2 * COUNTS)
    fakes = sample_batches(
        PerfectGenerator(),
        SAMPLES,
        seed=0,
        batch_size=100,
        statistics="moving",
        class_counts=class_counts,
    )
    fake = embed_images(network, fakes, SAMPLES)
    return score(real, fake, 2)[0]["fid"]


def test_a_perfect_generator_scores_at_the_floor_with_labels_of_the_data(
    network,
):
    # Uniform labels move the mean of each of 12 features by 0.4.
    assert fid(network, None) > 12 * 0.4**2
    assert fid(network, COUNTS) < 0.02
