"""Published protocols: what each does to images, and what is recorded."""

import dataclasses
import pathlib

import gin
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tiny_gan import make_generator

from sagan.config import parse_config
from sagan.evaluation.embedding import (
    embed_images,
    extremes,
    stretch,
)
from sagan.evaluation.inception import PREPROCESSING
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.published import (
    PROTOCOLS,
    check_chief_can_score,
    describe_published,
)
from sagan.evaluation.samples import sample_batches
from sagan.evaluation.scores import score


def _prepare(name, images):
    return PREPROCESSING[name][1](tf.constant(images, tf.float32)).numpy()


@pytest.mark.parametrize("size", [32, 128, 400])
def test_the_clean_resizer_is_that_of_pillow(size):
    """Each channel by itself, in floats, neither rounded nor clipped."""
    values = np.random.default_rng(0).integers(0, 256, (size, size, 3))
    channels = [
        Image.fromarray(values[..., i].astype(np.float32)).resize(
            (299, 299), Image.Resampling.BICUBIC
        )
        for i in range(3)
    ]
    expected = (np.stack(channels, axis=-1) - 128.0) / 128.0
    found = _prepare("clean", values[None] / 127.5 - 1.0)[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(expected).max() > 1.0  # It overshoots.


def test_the_other_resizers_interpolate_where_their_sources_do():
    images = np.broadcast_to(np.array([-1.0, 1.0])[:, None], (1, 2, 2, 1))
    images = np.repeat(images, 3, axis=-1)
    place = np.arange(299)
    # TensorFlow 1 aligns the corners at the top left, PyTorch the centres.
    corners = np.minimum(place * 2 / 299, 1.0)
    centres = np.clip((place + 0.5) * 2 / 299 - 0.5, 0.0, 1.0)
    for name, expected in (
        ("tensorflow", (255.0 * corners - 128.0) / 128.0),
        ("tensorflow_unit", 2.0 * corners - 1.0),
        ("pytorch", 2.0 * centres - 1.0),
    ):
        found = _prepare(name, images)[0, 5, :, 2]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stretched_images_fill_the_range():
    images = np.array([-0.5, 0.25, 1.0, 0.3])[:, None, None, None]
    low, high = extremes([(images[:2], None), (images[2:], None)])
    assert (low, high) == (-0.5, 1.0)
    levels = (stretch(images, low, high).ravel() + 1.0) * 127.5
    # Half the range is 127.5, or a little less for the 1e-5 added to it.
    np.testing.assert_allclose(levels, [0, 127, 255, 136], atol=1e-4)


@pytest.fixture(scope="module")
def evaluation(bindings, tmp_path_factory):
    """Under the protocol of mimicry, but of few images."""
    parse_config(
        ["configs/synthetic.gin"],
        [*bindings, "make_evaluation.protocol = 'mimicry'"],
    )
    made = make_evaluation(tmp_path_factory.mktemp("run"), num_samples=30)
    gin.clear_config()
    return made


def test_the_record_says_which_protocol_and_what_was_changed(evaluation):
    recorded = evaluation.protocol
    assert recorded["name"] == "mimicry (changed: features, num_samples)"
    assert recorded["quantised"] == "stretched"
    assert recorded["kid_subsets"] == [10, 5000]


@pytest.mark.parametrize("name", ["paper", "mimicry"])
def test_images_are_rounded_as_the_protocol_says(evaluation, name):
    published = dataclasses.replace(PROTOCOLS[name], kid_subsets=(2, 20))
    evaluation = dataclasses.replace(evaluation, published=published)
    generator = make_generator(attention_resolutions=())
    (images,), (labels,) = zip(
        *sample_batches(generator, 30, 0, 64, "moving"), strict=True
    )
    assert -1.0 < images.min() < images.max() < 1.0
    pixels = images
    if name == "mimicry":
        pixels = stretch(images, images.min(), images.max())
    kept = evaluation.num_features_kept
    fake = embed_images(
        evaluation.network, [(pixels, labels)], kept, rounded=lambda x: x
    )
    expected, _ = score(evaluation.real, fake, kid_subsets=(2, 20))
    plain = embed_images(evaluation.network, [(images, labels)], kept)
    record = evaluation.record(generator, 1, "ema")
    assert record["fid"] == pytest.approx(expected["fid"], rel=1e-6)
    assert record["kid"] == pytest.approx(expected["kid"], rel=1e-6)
    other, _ = score(evaluation.real, plain, kid_subsets=(2, 20))
    assert abs(other["fid"] - record["fid"]) > 1e-5 * record["fid"]


def test_the_own_protocol_is_recorded_as_before(bindings, tmp_path):
    """Scores of before compare, so no key may come or go."""
    parse_config(["configs/synthetic.gin"], bindings)
    evaluation = make_evaluation(tmp_path)
    assert sorted(evaluation.protocol) == [
        "channels", "crop_size", "dataset", "features", "features_sha256",
        "fingerprint", "floor_split", "image_size", "kept", "labels",
        "neighbours", "num_floor", "num_real", "num_samples", "quantised",
        "real_seed", "resize", "seed", "split", "tensor_float_32",
    ]  # fmt: skip
    assert evaluation.protocol["quantised"] == "uint8"
    assert "fid_inf" not in evaluation.real_reference


def test_what_changes_a_protocol_is_named():
    same = {"num_samples": 50_000, "labels": "uniform", "split": None}
    named = describe_published(
        "clean", "inception-2015-12-05", features="a/graph.pb", **same
    )
    assert named["name"] == "clean"
    assert "clean-fid" in named["source"]
    other = describe_published(
        *("studiogan", "classifier-x"),
        **{"features": "runs/x", "labels": "data", "num_real": 10},
    )
    assert other["name"] == "studiogan (changed: features, labels, num_real)"
    assert describe_published("own", "classifier-x", num_samples=3) == {}


def test_workers_that_generate_once_cannot_stretch():
    check_chief_can_score("uniform", PROTOCOLS["paper"])
    with pytest.raises(ValueError, match="protocol generates images twice"):
        check_chief_can_score("uniform", PROTOCOLS["mimicry"])


def test_configs_quote_scores_of_the_protocol_that_they_bind():
    """FID in the header of a config is of a protocol, or measured here."""
    configs = sorted(pathlib.Path("configs").rglob("*.gin"))
    assert configs
    for path in configs:
        text = path.read_text()
        header = text.partition("\nimport ")[0]
        quotes = "FID" in header and "make_evaluation.protocol" not in text
        assert not quotes, path
