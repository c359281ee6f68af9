"""From images to scores, and what a broken generator does to each."""

import numpy as np
import pytest
import tensorflow as tf

from sagan.data.synthetic import make_synthetic_images
from sagan.evaluation.embedding import FeatureSet, embed_images, quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.scores import score

COUNT = 600


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
    return score(real, embed(*real_images("test")), num_classes=3)[0]


def test_an_embedding_does_not_depend_on_batches(real):
    other = embed(*real_images(), batch=77)
    assert other.count == COUNT
    np.testing.assert_allclose(other.mean, real.mean, atol=1e-6)
    np.testing.assert_allclose(other.covariance, real.covariance, atol=1e-6)
    np.testing.assert_allclose(other.features, real.features, atol=1e-6)
    np.testing.assert_array_equal(other.labels, real.labels)
    np.testing.assert_allclose(
        real.covariance, np.cov(real.features, rowvar=False), atol=1e-6
    )


def test_fewer_features_are_kept_than_images_seen(real):
    some = embed(*real_images(), kept=130)
    assert len(some.features) == len(some.labels) == 130
    assert len(some.logits) == some.count == COUNT
    np.testing.assert_allclose(some.mean, real.mean, atol=1e-6)


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


def test_an_image_that_is_not_finite_is_named(real):
    images, labels = real_images()
    images[432, 3, 5, 1] = np.nan
    with pytest.raises(ValueError, match="Image 432 has a pixel"):
        embed(images, labels)


def test_real_images_score_best_against_themselves(real, floor):
    scores, warnings = score(real, real, num_classes=3)
    assert warnings == ["KID is of subsets of 600 samples, not 1000: there are "
        "600 real and 600 generated ones. Its mean stays unbiased; its "
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
    scores, warnings = score(real, broken(how), num_classes=3)
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
