"""A feature network that is quick, and a run to score with it."""

import gin
import keras
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.training.train import train

ROOT = __file__.rpartition("/tests/")[0]


@pytest.fixture(autouse=True)
def _project_root(monkeypatch):
    """Configs are named as a person in the project's root would."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """Colours of a coarse grid, and logits of three classes, as a file."""
    images = keras.Input([32, 32, 3])
    flat = keras.layers.Flatten()(keras.layers.AveragePooling2D(8)(images))
    logits = keras.layers.Dense(3, kernel_initializer="ones")(flat)
    path = tmp_path_factory.mktemp("features") / "coarse.keras"
    keras.Model(images, [flat, logits]).save(path)
    return path


@pytest.fixture(scope="session")
def bindings(features):
    """Bindings of a run small enough to be scored in a test."""
    return [
        "BASE_CHANNELS = 2",
        "ATTENTION_RESOLUTIONS = ()",
        "BATCH_SIZE = 4",
        "train.num_samples = 8",
        "train.log_every = 1",
        "train.save_every = 1",
        "make_dataset.num_examples = 200",
        f"make_evaluation.features = '{features}'",
        "make_evaluation.num_samples = 150",
        "make_evaluation.kept = 100",
    ]


@pytest.fixture(scope="session")
def run(bindings, tmp_path_factory):
    """A finished run of two steps, scored at each."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    parse_config(
        [f"{ROOT}/configs/synthetic.gin"],
        [
            *bindings,
            "NUM_STEPS = 2",
            "train.evaluate_every = 1",
            "train.evaluate_samples = 120",
        ],
    )
    tf.config.run_functions_eagerly(True)
    train(workdir=str(folder))
    tf.config.run_functions_eagerly(False)
    gin.clear_config()
    return folder
