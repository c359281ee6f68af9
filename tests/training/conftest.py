"""Runs of a GAN that trains in seconds."""

import pathlib
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from sagan.config import parse_config
from sagan.training.train import train

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "synthetic.gin"
TINY = (
    "BASE_CHANNELS = 2",
    "BATCH_SIZE = 4",
    "NUM_CLASSES = 0",
    "ATTENTION_RESOLUTIONS = ()",
    "train.num_samples = 8",
    "train.log_every = 1",
    "train.save_every = 1",
    "train.sample_every = 100",
)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of eight images of noise: no scores are drawn from those."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, [8, 32, 32, 3], np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def run(images):
    """Trains in a folder, by synthetic.gin and bindings, on `images`.

    Without the check of the device, which has its own tests.
    """

    def run(workdir, *bindings):
        name = f"make_dataset.name = 'folder:{images}'"
        parse_config([str(CONFIG)], [*TINY, name, *bindings])
        with mock.patch("sagan.training.train.check_updates"):
            train(workdir=str(workdir))

    return run
