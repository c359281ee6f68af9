"""Exports are scored on what they take and return, beside their checkpoint."""

import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

from sagan.data.synthetic import make_synthetic_images
from sagan.evaluation.embedding import embed_images
from sagan.evaluation.features import FeatureNetwork
from sagan.exporting.scoring import exported_generator, score_export
from sagan.latents import generate
from sagan.runs.record import parse_recorded_config
from sagan.runs.sample_grids import to_uint8

OLD_RUN = pathlib.Path(__file__).parents[1] / "runs" / "old_run"
RECORD = {
    "network": "generator",
    "step": 4,
    "weights": "ema",
    "statistics": "moving",
    "class": None,
    "bindings": [],
    "inputs": {"latents": {}, "labels": {}},
}


@pytest.fixture
def run():
    parse_recorded_config(OLD_RUN)
    return OLD_RUN


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"step": 2}, "not of one generator"),
        ({"weights": "raw"}, "not of one generator"),
        ({"class": 1}, "not of one generator"),
    ],
)
def test_exports_of_other_checkpoints_are_refused(run, other, words):
    with pytest.raises(ValueError, match=words):
        exported_generator(run, [RECORD, RECORD | other])


def test_an_export_of_one_class_is_refused(run):
    with pytest.raises(ValueError, match="all classes.*without --label"):
        exported_generator(run, [RECORD | {"class": 1}])


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("labelled", [True, False])
def test_the_score_is_that_of_the_images(run, labelled):
    def embed(images):
        cells = tf.nn.avg_pool2d(images, 16, 16, "VALID")
        return tf.reshape(cells, [len(images), -1]), None

    network = FeatureNetwork("coarse", "0" * 64, "none", embed)
    images, labels = make_synthetic_images(100, 32, "train")
    real = embed_images(network, [(images / 127.5 - 1.0, labels)], 100)
    evaluation = types.SimpleNamespace(
        seed=3, num_samples=60, network=network, real=real,
        num_features_kept=60, class_names=[],
    )  # fmt: skip
    generator = exported_generator(run, [RECORD])
    taken = []

    def call(inputs):
        taken.append(sorted(inputs))
        labels = inputs.get("labels", np.zeros(len(inputs["latents"]), int))
        return {"images": generate(generator, inputs["latents"], labels)}

    def call_in_bytes(inputs):
        return {"images": to_uint8(call(inputs)["images"])}

    record = RECORD
    if not labelled:
        record = RECORD | {"inputs": {"latents": {}}}
    floats, levels = (
        score_export(evaluation, generator, each, record)
        for each in (call, call_in_bytes)
    )
    assert floats == pytest.approx(levels, rel=1e-5)
    assert floats > 0
    expected = ["labels", "latents"] if labelled else ["latents"]
    assert all(names == expected for names in taken)
