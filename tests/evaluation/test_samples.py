"""Images to be scored: what they depend on and what they leave alone."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_generator

from sagan.evaluation.samples import STATISTICS, sample_batches
from sagan.layers.batch_norm import batch_norms


@pytest.fixture(scope="module")
def generator():
    generator = make_generator()
    latents = tf.random.stateless_normal([16, generator.latent_dim], [5, 5])
    # Until `u` has settled: it moves on with every batch in training.
    call = tf.function(generator, autograph=False)
    for _ in range(50):
        call(3.0 * latents, tf.zeros([16], tf.int32), training=True)
    return generator


def draw(generator, batch_size=8, statistics="moving", seed=0, count=20):
    batches = list(
        sample_batches(generator, count, seed, batch_size, statistics)
    )
    images, labels = (
        np.concatenate(parts) for parts in zip(*batches, strict=True)
    )
    return images, labels


def test_images_do_not_depend_on_the_batches_they_are_made_in(generator):
    images, labels = draw(generator, batch_size=8)
    assert images.shape == (20, 32, 32, 3)
    assert set(labels) == {0, 1, 2}
    again, same_labels = draw(generator, batch_size=5)
    np.testing.assert_array_equal(labels, same_labels)
    np.testing.assert_allclose(images, again, atol=1e-5)
    other, _ = draw(generator, seed=1)
    assert np.abs(images - other).max() > 0.1


@pytest.mark.parametrize("statistics", STATISTICS)
def test_sampling_leaves_the_generator_as_it_was(generator, statistics):
    before = generator.get_weights()
    decays = [b.norm1.decay for b in generator.blocks]
    first, _ = draw(generator, statistics=statistics)
    again, _ = draw(generator, statistics=statistics)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_equal(generator.get_weights(), before)
    assert [b.norm1.decay for b in generator.blocks] == decays


def test_batch_statistics_are_those_of_the_batch(generator):
    images, labels = draw(generator, statistics="batch", count=8)
    other, _ = draw(generator, statistics="batch", count=8, batch_size=4)
    assert np.abs(images - other).max() > 1e-3  # They depend on the batch.
    moving, _ = draw(generator, count=8)
    assert np.abs(images - moving).max() > 1e-3


def test_standing_statistics_are_the_average_of_batches(generator, monkeypatch):
    """With batches that are all the same, they are that batch's own."""
    from sagan.evaluation import samples

    drawn = samples.draw_latents(8, generator.latent_dim, 3, [0, 0])
    monkeypatch.setattr(samples, "draw_latents", lambda *_, **__: drawn)
    standing, _ = draw(generator, statistics="standing", count=8)
    batch, _ = draw(generator, statistics="batch", count=8)
    # `u` moves on from batch to batch, and with it the kernels, a little.
    assert np.abs(standing - batch).mean() < 0.02
    moving, _ = draw(generator, count=8)
    assert np.abs(moving - batch).mean() > 0.05


def test_standing_statistics_reach_every_batch_norm(generator):
    norms = batch_norms(generator)
    before = [layer.moving_mean.numpy() for layer in norms]
    assert len(norms) == 7
    weights = generator.get_weights()
    batches = sample_batches(generator, 16, 0, 8, "standing")
    next(batches)
    for layer, mean in zip(norms, before, strict=True):
        assert np.abs(layer.moving_mean.numpy() - mean).max() > 0
    # Left in the middle, it puts all of them back.
    batches.close()
    np.testing.assert_equal(generator.get_weights(), weights)
