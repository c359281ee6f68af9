"""From images to scores, and what a broken generator does to each."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.data.synthetic import KINDS, make_synthetic_images
from sagan.evaluation.embedding import FeatureSet, embed_images, quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.samples import sample_batches
from sagan.evaluation.scores import score

COUNT = 400


def _embed(images):
    """Colours on a coarse grid: 48 features, and logits of three of them."""
    cells = tf.nn.avg_pool2d(images, 8, 8, "VALID")
    features = tf.reshape(cells, [len(images), -1])
    return features, 10.0 * features[:, :3]


NETWORK = FeatureNetwork("coarse", "0" * 64, "none", _embed)


def real_images(split="train"):
    """Images whose colours are not alike, so that swapping them shows."""
    images, labels = make_synthetic_images(COUNT, 32, split)
    pixels = np.rint(images * np.array([1.0, 0.8, 0.4]))
    return pixels.astype(np.float32) / 127.5 - 1.0, labels


def embed(images, labels, batch=100, kept=COUNT):
    batches = (
        (images[i : i + batch], labels[i : i + batch])
        for i in range(0, len(images), batch)
    )
    return embed_images(NETWORK, batches, kept)


@pytest.fixture(scope="module")
def real():
    return embed(*real_images())


@pytest.fixture(scope="module")
def floor(real):
    return score(real, embed(*real_images("test")), class_names=KINDS)[0]


def test_an_embedding_does_not_depend_on_batches(real):
    other = embed(*real_images(), batch=77, kept=130)
    assert other.count == COUNT
    # Fewer features are kept than images seen.
    assert len(other.features) == len(other.labels) == 130
    assert len(other.logits) == COUNT
    np.testing.assert_allclose(other.mean, real.mean, atol=1e-6)
    np.testing.assert_allclose(other.covariance, real.covariance, atol=1e-6)
    np.testing.assert_allclose(other.features, real.features[:130], atol=1e-6)
    np.testing.assert_array_equal(other.labels, real.labels[:130])
    np.testing.assert_allclose(
        real.covariance, np.cov(real.features, rowvar=False), atol=1e-6
    )


def test_an_embedding_comes_back_from_its_file(real, tmp_path):
    path = tmp_path / "folder" / "real.npz"
    real.save(path)
    again = FeatureSet.load(path)
    for name, value in vars(real).items():
        np.testing.assert_array_equal(getattr(again, name), value)
    assert [p.name for p in path.parent.iterdir()] == ["real.npz"]


def test_images_are_rounded_as_in_a_file():
    values = np.linspace(-1.2, 1.2, 1000, dtype=np.float32)[None, :, None, None]
    levels = (quantise(values) + 1.0) * 127.5
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    assert levels.min() == 0.0
    assert levels.max() == 255.0
    images, _ = real_images()
    np.testing.assert_array_equal(quantise(images), images)


def test_an_image_that_is_not_finite_is_named():
    images, labels = real_images()
    images[232, 3, 5, 1] = np.nan
    with pytest.raises(ValueError, match="Image 232 has a pixel"):
        embed(images, labels)


def test_real_images_score_best_against_themselves(real, floor):
    scores, warnings = score(real, real, class_names=KINDS)
    assert warnings == ["KID is of subsets of 400 samples, not 1000: there are "
        "400 real and 400 generated ones. Its mean stays unbiased; its "
        "deviation is not that of the usual subsets."]  # fmt: skip
    assert scores["fid"] == pytest.approx(0.0, abs=1e-6)
    assert scores["intra_fid"] == pytest.approx(0.0, abs=1e-6)
    assert scores["precision"] == scores["recall"] == scores["coverage"] == 1.0
    assert 0 < scores["fid"] + 1e-6 < floor["fid"]
    assert floor["precision"] > 0.7
    assert floor["recall"] > 0.7
    assert abs(floor["kid"]) < 0.01


def broken(how):
    images, labels = real_images("test")
    if how == "collapsed":
        images = np.repeat(images[:1], COUNT, axis=0)
    elif how == "few modes":
        images = images[np.arange(COUNT) % 5]
    elif how == "swapped channels":
        images = images[..., ::-1]
    elif how == "wrong range":
        images = (images + 1.0) / 2.0
    elif how == "wrong labels":
        labels = (labels + 1) % 3
    return embed(images, labels)


@pytest.mark.parametrize(
    ("how", "flagged"),
    [
        ("collapsed", {"fid", "kid", "recall", "coverage", "intra_fid"}),
        ("few modes", {"fid", "kid", "recall", "coverage", "intra_fid"}),
        ("swapped channels", {"fid", "kid"}),
        ("wrong range", {"fid", "kid", "coverage", "intra_fid"}),
        ("wrong labels", {"intra_fid"}),
    ],
)
def test_scores_flag_a_broken_generator(real, floor, how, flagged):
    scores, warnings = score(real, broken(how), class_names=KINDS)
    assert all(np.isfinite(list(scores.values())))
    worse = {
        name
        for name in ("fid", "kid", "intra_fid")
        if scores[name] > 2 * floor[name] + 0.01
    } | {
        name
        for name in ("precision", "recall", "coverage", "is")
        if scores[name] < 0.7 * floor[name]
    }
    assert flagged <= worse, (scores, floor)
    collapsed = [text for text in warnings if "collapsed" in text]
    assert bool(collapsed) == (how in ("collapsed", "few modes"))


class PerfectGenerator:
    """Draws from the distribution of each of two classes."""

    latent_dim = 12
    num_classes = 2
    non_trainable_variables = ()

    def __call__(self, latents, labels, training=False):
        noise = 0.1 * tf.reshape(latents, [-1, 2, 2, 3])
        means = tf.cast(labels, tf.float32) - 0.5
        return noise + means[:, None, None, None]


def test_a_perfect_generator_scores_at_the_floor_with_labels_of_the_data():
    """Where some classes are rarer than others."""
    generator, counts = PerfectGenerator(), np.array([100, 900])
    network = FeatureNetwork(
        "pixels", "0", "none", lambda x: (tf.reshape(x, [-1, 12]), None)
    )
    labels = np.repeat([0, 1], counts)
    latents = np.random.default_rng(0).normal(size=[1000, 12])
    images = generator(tf.constant(latents, tf.float32), labels).numpy()
    real = embed_images(network, [(images, labels)], 1000)
    np.testing.assert_array_equal(real.class_counts, counts)

    def fid(class_counts):
        fakes = sample_batches(
            *(generator, 500, 0, 100, "moving"), class_counts=class_counts
        )
        return score(real, embed_images(network, fakes, 500))[0]["fid"]

    # Uniform labels move the mean of each of 12 features by 0.4.
    assert fid(None) > 12 * 0.4**2
    assert fid(counts) < 0.02


def test_fid_is_extrapolated_where_enough_features_are_kept(real):
    images, labels = real_images("test")
    scores, _ = score(real, embed(images, labels), extrapolate=True)
    assert scores["fid_inf"] < scores["fid"]
    few = embed(images, labels, kept=100)
    scores, warnings = score(real, few, extrapolate=True)
    assert "fid_inf" not in scores
    assert "fake has 100 samples of 48 features" in "\n".join(warnings)
