"""A classifier from config to file: what it learns, repeats and refuses."""

import json
import pathlib
import shutil
import subprocess
import sys

import gin
import numpy as np
import pytest
import tensorflow as tf
from fake_tfds import write_fake

from sagan.config import parse_config
from sagan.data.synthetic import make_synthetic_images
from sagan.evaluation.classifier import (
    CLASSIFIER_FILE,
    WEIGHTS_FILE,
    build_classifier,
    load_classifier,
)
from sagan.evaluation.classifier_training import train_classifier
from sagan.runs.resume import flatten

ROOT = pathlib.Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs").glob("classifier_*.gin"))
CIFAR10 = ROOT / "configs" / "classifier_cifar10.gin"
TINY = (
    "EPOCHS = 3",
    "BATCH_SIZE = 32",
    "NUM_CLASSES = 4",
    "PRECISION = 'float32'",
    "make_dataset.name = 'synthetic'",
    # No multiple of the batch: the last of the test split is smaller.
    "make_dataset.num_examples = 1000",
    "build_classifier.stages = ((16,), (32,))",
    "build_classifier.feature_dim = 24",
    "train_classifier.minimum_accuracy = 0.9",
    "train_classifier.max_shift = 2",
)
# Enough to have something to save.
BRIEF = (
    *TINY,
    "EPOCHS = 1",
    "make_dataset.num_examples = 64",
    "build_classifier.stages = ((4,), (8,))",
    "train_classifier.minimum_accuracy = 0.0",
)


def train(workdir, *bindings, config=CIFAR10, **kwargs):
    parse_config([str(config)], bindings)
    return train_classifier(str(workdir), **kwargs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("classifier")
    train(workdir, *TINY)
    gin.clear_config()
    return workdir


def test_it_learns_the_labels(trained):
    record = json.loads((trained / CLASSIFIER_FILE).read_text())
    assert record["test_accuracy"] > 0.9  # Chance is a quarter.
    assert record["num_test_images"] == 1000
    assert len(record["test_accuracy_by_epoch"]) == 3
    # Keras on the network as it was trained, and exact counts as it scores.
    assert record["test_accuracy_by_epoch"][-1] == pytest.approx(
        record["test_accuracy"], abs=1e-6
    )
    assert record["dataset"] == "synthetic"
    assert record["network"]["image_size"] == 32
    assert record["network"]["pointwise"] == "conv2d"
    assert (record["epochs"], record["seed"]) == (3, 0)
    assert record["minimum_accuracy"] == 0.9


def test_its_accuracy_can_be_measured_again_from_the_folder_alone(trained):
    classifier = load_classifier(trained)
    images, labels = make_synthetic_images(1000, 32, "test")
    features, logits = classifier.embed(images.astype(np.float32) / 127.5 - 1)
    assert features.shape == (1000, 24)
    right = np.mean(np.argmax(logits, -1) == labels)
    assert right == classifier.test_accuracy
    # Its features tell the classes apart.
    means = np.stack(
        [np.mean(features[labels == kind], axis=0) for kind in range(4)]
    )
    distances = np.linalg.norm(features[:, None] - means, axis=-1)
    assert np.mean(distances.argmin(-1) == labels) > 0.85


@pytest.fixture(scope="module")
def brief(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("brief")
    train(workdir, *BRIEF)
    gin.clear_config()
    return workdir


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def test_a_damaged_or_interrupted_one_starts_over(brief, tmp_path, monkeypatch):
    workdir = shutil.copytree(brief, tmp_path / "copy")
    (workdir / WEIGHTS_FILE).write_bytes(b"")
    with monkeypatch.context() as patch:
        patch.setattr("sagan.evaluation.classifier_training.fit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(workdir, *BRIEF)
    with pytest.raises(ValueError, match="no finished classifier"):
        load_classifier(workdir)
    train(workdir, *BRIEF)
    # The seed decides on every bit.
    ours, theirs = (path / WEIGHTS_FILE for path in (workdir, brief))
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_finished_one_is_left_alone(brief, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in brief.iterdir()}
    monkeypatch.setattr(
        "sagan.evaluation.classifier_data.make_dataset", interrupt
    )
    finished = train(brief, *BRIEF)
    assert finished.weights_sha256 == load_classifier(brief).weights_sha256
    assert {p: p.stat().st_mtime_ns for p in brief.iterdir()} == before
    with pytest.raises(ValueError, match="epochs: 1 -> 2"):
        train(brief, *BRIEF, "EPOCHS = 2")


def test_too_low_an_accuracy_ends_in_an_error_and_stays_on_record(
    brief, tmp_path
):
    bindings = ("train_classifier.minimum_accuracy = 0.99", "SEED = 1")
    with pytest.raises(ValueError, match="64 test images, required are 99.00%"):
        train(tmp_path, *BRIEF, *bindings)
    record = json.loads((tmp_path / CLASSIFIER_FILE).read_text())
    assert record["test_accuracy"] < 0.99
    with pytest.raises(ValueError, match="required are 99.00%"):
        load_classifier(tmp_path)
    # Another seed, other weights.
    sha256 = load_classifier(brief).weights_sha256
    assert record["weights_sha256"] != sha256


def test_fashion_mnist_is_grey_and_resized(tmp_path):
    images, labels = make_synthetic_images(32, 32)
    examples = [
        {"image": image, "label": int(label)}
        for image, label in zip(images[:, 2:30, 2:30, :1], labels, strict=True)
    ]
    write_fake("fashion_mnist", str(tmp_path), examples, test=2 * examples)
    classifier = train(
        tmp_path / "run",
        "EPOCHS = 1",
        "BATCH_SIZE = 32",
        "PRECISION = 'float32'",
        "build_classifier.stages = ((4,), (8,))",
        "train_classifier.minimum_accuracy = 0.0",
        config=ROOT / "configs" / "classifier_fashion_mnist.gin",
        data_dir=str(tmp_path),
    )
    assert classifier.network.image_shape == (32, 32, 1)
    assert classifier.dataset == "fashion_mnist"
    assert classifier.num_classes == 10
    assert classifier.num_test_images == 64
    features, logits = classifier.embed(tf.zeros([2, 32, 32, 1]))
    assert features.shape == (2, 128)
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_each_config_parses_and_its_knobs_reach_their_functions(path):
    parse_config([str(path)], ["POINTWISE = 'gemm'", "SEED = 5"])
    values = flatten(gin.config_str())
    assert values["train_classifier.minimum_accuracy"] >= 0.8
    assert values["train_classifier.seed"] == 5
    assert values["make_dataset.seed"] == 5
    assert values["build_classifier.pointwise"] == "gemm"
    network = build_classifier(
        values["make_dataset.image_size"],
        values.get("make_dataset.channels", 3),
        values["make_dataset.num_classes"] or 4,  # Of rotations.
    )
    assert 128 <= network.feature_dim <= 256
    delta = ROOT / "configs" / "mixed_bfloat16.gin"
    parse_config([str(path), str(delta)])
    assert flatten(gin.config_str())["build_classifier.precision"] == (
        "mixed_bfloat16"
    )


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("EPOCHS = 0", "train_classifier.epochs is 0"),
        ("train_classifier.minimum_accuracy = 80", "minimum_accuracy is 80"),
        ("NUM_CLASSES = 0", "needs its labels: bind make_dataset.num_classes"),
        ("POINTWISE = 'fast'", "Unknown pointwise implementation 'fast'"),
        ("PRECISION = 'float16'", "precision is 'float16'"),
        ("build_classifier.stages = (32, 64)", r"stages is \(32, 64\)"),
        ("build_classifier.stages = ((0,),)", "stages is .*not 0"),
        ("IMAGE_SIZE = 34", "side 34 cannot be halved 2 times"),
        ("train_classifier.test_split = 'dev'", "has no split 'dev'"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_is_written(
    tmp_path, binding, message
):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", *BRIEF, binding)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    bindings = ("EPOCHS = 2", "train_classifier.learning_rate = 1e30")
    with pytest.raises(FloatingPointError, match="lower .*learning_rate"):
        train(tmp_path, *BRIEF, *bindings)
    assert not (tmp_path / CLASSIFIER_FILE).exists()


def test_command_trains_and_says_how_good_it_is(tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "sagan.classifier"),
            "--gin_config=configs/classifier_cifar10.gin",
            f"--workdir={tmp_path}",
            *(f"--gin_bindings={binding}" for binding in BRIEF),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    # Two datasets, one epoch, the end, and nothing of the libraries.
    assert len(lines) == 4, result.stderr
    assert "epoch 1/1: loss" in lines[2]
    assert "of 64 test images right" in lines[3]
    classifier = load_classifier(tmp_path)
    assert classifier.weights_sha256[:12] in lines[3]
