"""A classifier as a function, proved on its own test images."""

import json
import pathlib

import gin
import pytest

from sagan.config import parse_config
from sagan.evaluation.classifier import CLASSIFIER_FILE
from sagan.evaluation.classifier_training import train_classifier
from sagan.exporting.classifiers import open_classifier
from sagan.exporting.export import export, export_run
from sagan.exporting.program import Options

CIFAR10 = pathlib.Path(__file__).parents[2] / "configs/classifier_cifar10.gin"
BRIEF = (
    "EPOCHS = 1",
    "BATCH_SIZE = 16",
    "NUM_CLASSES = 4",
    "PRECISION = 'float32'",
    "make_dataset.name = 'synthetic'",
    "make_dataset.num_examples = 72",
    "build_classifier.stages = ((4,), (8,))",
    "build_classifier.feature_dim = 6",
    "train_classifier.minimum_accuracy = 0.0",
)


def train(workdir, *bindings):
    parse_config([str(CIFAR10)], [*BRIEF, *bindings])
    train_classifier(str(workdir))
    gin.clear_config()
    return json.loads((workdir / CLASSIFIER_FILE).read_text())


@pytest.mark.parametrize("targets", ["labels", "rotation"])
def test_its_accuracy_is_that_of_the_record(tmp_path, targets):
    workdir = tmp_path / "classifier"
    before = train(workdir, f"train_classifier.targets = '{targets}'")
    program = open_classifier(workdir, [], None, Options(batch=16))
    export(program, "savedmodel", tmp_path / "model")
    record = json.loads((tmp_path / "model.json").read_text())
    assert record["examples"] == 72
    assert record["accuracy"]["checkpoint"] == pytest.approx(
        before["test_accuracy"]
    )
    assert record["accuracy"]["export"] == record["accuracy"]["checkpoint"]
    assert record["inputs"]["images"]["shape"] == [16, 32, 32, 3]
    assert record["outputs"]["logits"]["shape"] == [16, 4]
    assert record["outputs"]["features"]["shape"] == [16, 6]
    # Turns have no names.
    assert len(record["classes"]) == (4 if targets == "labels" else 0)


@pytest.mark.parametrize(
    "changes", [{"label": "1"}, {"attention": True}, {"pixels": "uint8"}]
)
def test_what_only_generators_have_is_refused(tmp_path, changes):
    (tmp_path / CLASSIFIER_FILE).write_text("")
    options = Options(**changes)
    with pytest.raises(ValueError, match="is for generators"):
        export_run(
            *(tmp_path, [], None, "savedmodel", tmp_path / "model", options)
        )
    assert not (tmp_path / "model").exists()
