"""A run folder of an earlier version is restored, resumed and sampled.

`old_run` was made by commit e927cd0: configs/synthetic.gin at 2 base channels,
conditional, 4 steps. `outputs.npz` holds what its networks made of some
latents.
"""

import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from sagan.evaluation.pictures import Drawing, draw
from sagan.runs.checkpoints import CHECKPOINT_FOLDER, Checkpoints
from sagan.runs.record import parse_recorded_config
from sagan.training.assembly import make_gan
from sagan.training.train import train

FOLDER = pathlib.Path(__file__).parent / "old_run"

pytestmark = pytest.mark.usefixtures("run_eagerly")


@pytest.fixture
def workdir(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "run")


def test_its_networks_compute_what_they_did(workdir):
    parse_recorded_config(workdir)
    gan = make_gan(
        seed=3,
        ema_decay=0.99,
        ema_start=100,
        jit_compile=False,
        joint_batch=True,
        accumulation=1,
    )
    checkpoints = Checkpoints(workdir / CHECKPOINT_FOLDER, gan.trackables())
    assert checkpoints.restore_latest() == 4
    outputs = np.load(workdir / "outputs.npz")
    inputs = outputs["latents"], outputs["labels"]
    for name, values in (
        ("ema", gan.ema_generator(*inputs)),
        ("raw", gan.generator(*inputs)),
        ("logits", gan.discriminator(outputs["raw"], outputs["labels"])),
    ):
        np.testing.assert_allclose(values, outputs[name], rtol=1e-4, atol=1e-5)


def test_it_is_sampled(workdir, tmp_path):
    parse_recorded_config(workdir)
    drawing = Drawing(num_images=4)
    text = draw(workdir, tmp_path / "grid.png", None, drawing)
    assert "step 4" in text
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.getextrema() != ((255, 255),) * 3


def test_it_resumes_with_its_own_settings_alone(workdir):
    parse_recorded_config(workdir, ["NUM_STEPS = 5", "train.d_steps = 2"])
    with pytest.raises(ValueError, match=r"train.d_steps: 1 -> 2"):
        train(str(workdir))
    parse_recorded_config(workdir, ["NUM_STEPS = 5"])
    train(str(workdir))
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert (workdir / "checkpoints/step_00000005").is_dir()
    sessions = (workdir / "sessions.jsonl").read_text().splitlines()
    assert json.loads(sessions[-1])["step"] == 4
