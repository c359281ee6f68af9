"""Runs small enough to be explored in a test, and a browser."""

import json
import pathlib

import gin
import keras
import numpy as np
import pytest
from browser import Page, Server, open_browser
from random_weights import randomize

from sagan.config import CONFIG_FILE, parse_config
from sagan.discriminator import build_discriminator
from sagan.evaluation.real_images import open_real
from sagan.explorer.networks import Run
from sagan.explorer.server import Explorer
from sagan.generator import build_generator
from sagan.runs.checkpoints import CHECKPOINT_FOLDER, Checkpoints
from sagan.runs.logs import METRICS_FILE
from sagan.runs.record import SESSIONS_FILE
from sagan.runs.sample_grids import to_uint8

_SYNTHETIC = pathlib.Path(__file__).parents[2] / "configs/synthetic.gin"
_TINY = (
    "BASE_CHANNELS = 2",
    "build_generator.latent_dim = 6",
    "make_dataset.num_examples = 64",
)


def write_run(folder, *bindings, steps=(4, 8)):
    """Writes a run with other weights at every checkpoint."""
    folder.mkdir()
    parse_config([str(_SYNTHETIC)], [*_TINY, *bindings])
    networks = {
        "generator": build_generator(),
        "ema_generator": build_generator(),
        "discriminator": build_discriminator(),
    }
    (folder / CONFIG_FILE).write_text(gin.config_str())
    gin.clear_config()
    checkpoints = Checkpoints(folder / CHECKPOINT_FOLDER, networks, 9)
    metrics = []
    for step in steps:
        for seed, network in enumerate(networks.values()):
            randomize(network, 10 * step + seed)
        checkpoints.save(step)
        metrics.append({"step": step, "d_loss": 1.0 / step, "g_loss": None})
    names = ["disc", "square", "triangle", "cross"]
    classes = names[: networks["generator"].num_classes]
    session = {"step": 0, "data": {"name": "synthetic", "classes": classes}}
    for name, lines in (METRICS_FILE, metrics), (SESSIONS_FILE, [session]):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="package")
def folders(tmp_path_factory):
    """A run, one like it, and one without classes, in grey, unpooled."""
    root = tmp_path_factory.mktemp("runs")
    paper = [
        "build_generator.attention = 'paper'",
        "build_generator.channels = 1",
        "build_discriminator.channels = 1",
        "build_discriminator.attention_resolutions = ()",
        "NUM_CLASSES = 0",
    ]
    return {
        "first": write_run(root / "first"),
        "second": write_run(
            root / "second", "ATTENTION_RESOLUTIONS = (8,)", steps=(5,)
        ),
        "grey": write_run(root / "grey", *paper),
    }


@pytest.fixture(scope="package")
def pixel_features(tmp_path_factory):
    """A binding: pixels themselves as the features of images."""
    path = tmp_path_factory.mktemp("features") / "pixels.keras"
    keras.Sequential([keras.Input([32, 32, 3]), keras.layers.Flatten()]).save(
        path
    )
    return f"make_evaluation.features = '{path}'"


@pytest.fixture(scope="package")
def real_pixels(folders):
    """The images that the first run trained on, uint8."""
    parse_config([str(folders["first"] / CONFIG_FILE)], recorded=True)
    batches = open_real("train", None).one_pass().as_numpy_iterator()
    images = np.concatenate([images for images, _ in batches])
    gin.clear_config()
    return to_uint8(images)


@pytest.fixture(scope="package")
def runs(folders):
    opened = {name: Run(folder) for name, folder in folders.items()}
    gin.clear_config()
    return opened


@pytest.fixture(scope="package")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="package")
def driver(downloads):
    driver = open_browser(downloads)
    yield driver
    driver.quit()


@pytest.fixture
def open_page(driver, runs):
    """Opens the page on runs; at the end nothing may have gone wrong."""
    servers, pages = [], []

    def start(*names, settings="", **options):
        explorer = Explorer([runs[name] for name in names], **options)
        servers.append(Server(explorer))
        pages.append(Page(driver, servers[-1].url))
        return pages[-1].open(settings)

    yield start
    driver.get("about:blank")  # The page may still be asking.
    faults = pages[-1].faults()
    for server in servers:
        server.close()
        server.application.close()
    assert not faults
