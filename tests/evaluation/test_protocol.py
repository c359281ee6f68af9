"""The protocol of a config's scores: which images against which."""

import gin
import numpy as np
import pytest
from PIL import Image
from tiny_gan import make_generator

from sagan.config import parse_config
from sagan.evaluation import published
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.protocol import WEIGHTS, make_evaluation


@pytest.fixture(scope="module")
def evaluation(bindings, tmp_path_factory):
    parse_config(["configs/synthetic.gin"], bindings)
    made = make_evaluation(tmp_path_factory.mktemp("evaluation"))
    gin.clear_config()
    return made


def test_a_generator_is_scored_the_same_twice_and_worse_than_the_floor(
    evaluation,
):
    assert WEIGHTS == ("ema", "raw")
    generator = make_generator(attention_resolutions=())
    one, other = (evaluation.record(generator, 1, "ema") for _ in range(2))
    assert one.keys() >= evaluation.real_reference.keys()
    for name in evaluation.real_reference:
        assert one[name] == other[name]
    assert evaluation.protocol["num_floor"] == 150
    assert evaluation.real_reference["fid"] < 0.2 * one["fid"]
    assert evaluation.real_reference["coverage"] > 2 * one["coverage"]


def test_without_a_classifier_the_message_says_how_to_train_one(
    bindings, tmp_path
):
    settings = [b for b in bindings if "features" not in b]
    parse_config(["configs/synthetic.gin"], settings)
    with pytest.raises(ValueError, match="python -m sagan.classifier"):
        make_evaluation(tmp_path)


def test_a_folder_of_images_is_compared_with_its_other_half(bindings, tmp_path):
    (tmp_path / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, [30, 32, 32, 3], np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
    settings = [b for b in bindings if "num_examples" not in b]
    name = f"make_dataset.name = 'folder:{tmp_path}/images'"
    parse_config(
        ["configs/synthetic.gin"], [*settings, name, "NUM_CLASSES = 0"]
    )
    made = make_evaluation(tmp_path / "run")
    assert made.real.count == 30
    assert made.protocol["num_floor"] == 15
    assert made.protocol["floor_split"] == "halves"
    assert made.protocol["labels"] == "none"
    assert "intra_fid" not in made.real_reference
    assert len(list((tmp_path / "sagan_features").iterdir())) == 3


def test_the_split_of_the_config_is_on_record(bindings, tmp_path):
    (tmp_path / "sagan_features").write_text("a file in place of the cache")
    parse_config(
        ["configs/synthetic.gin"],
        [*bindings, "make_dataset.split = 'test'"],
    )
    # A cache that cannot be written costs only time.
    made = make_evaluation(tmp_path)
    assert made.real.count == 200
    assert made.protocol["split"] == "test"
    # The test images are in the reference: they are no floor.
    assert made.protocol["floor_split"] == "halves"
    assert made.protocol["num_floor"] == 100


def test_a_feature_network_of_another_size_is_refused(
    bindings, tmp_path, monkeypatch
):
    parse_config(["configs/synthetic.gin"], bindings)

    def refuse(images):
        raise ValueError("expected 64 pixels")

    network = FeatureNetwork("large", "0", "none", refuse)
    monkeypatch.setattr(published, "open_features", lambda *_: network)
    with pytest.raises(ValueError, match="large cannot embed .*32.*64 pixels"):
        make_evaluation(tmp_path)


def test_too_few_samples_are_refused(bindings, tmp_path):
    parse_config(["configs/synthetic.gin"], bindings)
    with pytest.raises(ValueError, match="num_samples is 5"):
        make_evaluation(tmp_path, num_samples=5)
