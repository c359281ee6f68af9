"""Scores are of the data that they say: never of old images or of the same."""

import dataclasses

import numpy as np
import pytest
from fake_tfds import write_fake
from PIL import Image

from sagan.config import parse_config
from sagan.data import make_dataset
from sagan.evaluation.compatibility import check_network
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.real_images import open_others, open_real


def _write(folder, number, low, high):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(low)
    for i in range(number):
        pixels = rng.integers(low, high, [32, 32, 3], np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.bmp")


def _bind(bindings, name, *more):
    settings = [b for b in bindings if "num_examples" not in b]
    settings += [f"make_dataset.name = {name!r}", "NUM_CLASSES = 0", *more]
    parse_config(["configs/synthetic.gin"], settings)


def test_images_that_were_overwritten_are_embedded_anew(bindings, tmp_path):
    """Even behind the first 64, and at the same size."""
    images = tmp_path / "images"
    _write(images, 80, 40, 80)
    _bind(bindings, f"folder:{images}")
    before = make_evaluation(tmp_path / "run")
    for path in sorted(images.iterdir())[64:]:
        Image.new("RGB", (32, 32), "white").save(path)
    after = make_evaluation(tmp_path / "run")
    # In [-1, 1]: 16 of 80 are white, and the others were 59.5 of 255 on
    # average.
    mean = 59.5 / 127.5 - 1.0
    np.testing.assert_allclose(before.real.mean, mean, atol=0.02)
    np.testing.assert_allclose(
        after.real.mean, 0.8 * mean + 0.2 * 1.0, atol=0.02
    )
    assert before.protocol["fingerprint"] != after.protocol["fingerprint"]


def test_eight_images_are_too_few(bindings, tmp_path):
    _write(tmp_path / "images", 8, 0, 256)
    _bind(bindings, f"folder:{tmp_path}/images")
    with pytest.raises(ValueError, match="has 8 real .*expected at least 6"):
        make_evaluation(tmp_path / "run")
    assert not (tmp_path / "sagan_features").exists()


@pytest.mark.parametrize(
    ("split", "floor_split", "count"),
    [
        ("train", None, None),  # It has no test split.
        ("train", "train", None),
        ("all", "train", None),
        ("train[:60%]", "train[50%:]", None),
        ("train[:50%]", "train[50%:]", 10),
    ],
)
def test_the_floor_is_of_other_images(
    bindings, tmp_path, split, floor_split, count
):
    rng = np.random.default_rng(0)
    examples = [
        {"image": rng.integers(0, 256, [28, 28, 1], np.uint8), "label": 0}
        for _ in range(20)
    ]
    write_fake("mnist", tmp_path, examples)
    _bind(bindings, "mnist")
    dataset = open_real(split, str(tmp_path))
    others = open_others(dataset, floor_split, str(tmp_path))
    assert (others and others.size) == count
    with pytest.raises(ValueError, match="no split 'dev'"):
        open_others(dataset, "dev", str(tmp_path))


def test_a_classifier_of_another_dataset_is_noticed(bindings, tmp_path, caplog):
    parse_config(["configs/synthetic.gin"], bindings)
    dataset = make_dataset()
    learnt = {"name": "mine", "fingerprint": "f", "classes": ["cat", "dog"]}
    network = FeatureNetwork(
        *("classifier-mine", "0", "none", lambda images: (images, None)), learnt
    )
    with pytest.raises(ValueError, match="classes cat, dog, but .* has disc, "):
        check_network(network, dataset, "train", found_by_name=True)
    assert not caplog.text
    check_network(network, dataset, "train", found_by_name=False)
    assert "trained on other images than are scored: mine, not" in caplog.text
    caplog.clear()
    own = learnt | {"fingerprint": dataset.identity.fingerprint}
    own["classes"] = list(dataset.identity.class_names)
    network = dataclasses.replace(network, data=own)
    check_network(network, dataset, "train", found_by_name=True)
    assert not caplog.text
    network = dataclasses.replace(network, data=None)
    check_network(network, dataset, "train", found_by_name=True)
    assert "does not say which data it was trained on" in caplog.text
