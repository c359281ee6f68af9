"""A run resumes on its own data wherever they lie, and on no others."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from sagan.config import parse_config
from sagan.runs.record import class_numbers, last_data
from sagan.training.train import train

pytestmark = pytest.mark.usefixtures("run_eagerly")


@pytest.fixture
def images(tmp_path):
    for i, name in enumerate(["cat/a", "cat/b", "dog/a", "dog/b"]):
        path = tmp_path / f"images/{name}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, i)
    return tmp_path / "images"


def _save(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, [32, 32, 3])
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _train(workdir, images, steps, *bindings):
    settings = (
        f"make_dataset.name = 'folder:{images}'",
        "make_dataset.num_examples = None",
        "ATTENTION_RESOLUTIONS = ()",
        "NUM_CLASSES = 2",
        "BASE_CHANNELS = 1",
        "BATCH_SIZE = 2",
        "train.num_samples = 2",
    )
    parse_config(
        ["configs/synthetic.gin"],
        [*settings, f"NUM_STEPS = {steps}", *bindings],
    )
    train(str(workdir))


def _steps(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_run_in_a_folder_of_any_name_resumes(images, tmp_path):
    """TensorFlow would take this name for a pattern, and that for it."""
    workdir, other = tmp_path / "lr[1e-4]", tmp_path / "lr1"
    _train(workdir, images, 1)
    shutil.copytree(workdir, other)
    _train(other, images, 2)
    _train(workdir, images, 2)
    assert _steps(workdir) == [1, 2]


def test_a_run_resumes_when_its_images_have_moved(images, tmp_path):
    _train(tmp_path / "run", images, 1)
    assert last_data(tmp_path / "run")["classes"] == ["cat", "dog"]
    moved = images.rename(tmp_path / "moved")
    _train(
        tmp_path / "run",
        f"{moved}/",
        2,
        "make_dataset.cache = False",
        "make_dataset.max_unreadable = 0.5",
    )
    assert _steps(tmp_path / "run") == [1, 2]


def test_files_written_anew_at_the_same_size_are_warned_of(
    images, tmp_path, caplog
):
    _train(tmp_path / "run", images, 1)
    _train(tmp_path / "run", images, 2)
    assert "modification times" not in caplog.text
    os.utime(images / "cat/a.bmp", ns=(1, 1))
    _train(tmp_path / "run", images, 3)
    assert "have other modification times than in the last" in caplog.text


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (
            lambda images: _save(images / "cat/a.bmp", 9),
            "themselves, or their labels\n  modified last: 'cat/a.bmp' of ",
        ),
        (lambda images: (images / "cat").rename(images / "eel"), "'eel'"),
        (lambda images: _save(images / "cat/c.bmp", 9), "images: 4 -> 5"),
    ],
    ids=["overwritten", "other class name", "added"],
)
def test_other_data_are_refused(images, tmp_path, change, shown):
    _train(tmp_path / "run", images, 1)
    change(images)
    with pytest.raises(ValueError, match="data differ from those") as error:
        _train(tmp_path / "run", images, 2)
    assert shown in str(error.value)
    assert _steps(tmp_path / "run") == [1]


def test_classes_are_found_by_name_or_number(images, tmp_path):
    _train(tmp_path, images, 1)
    assert class_numbers(tmp_path, ["dog", "0"], 2) == [1, 0]
    for wrong in ("cow", "2", "-1"):
        with pytest.raises(ValueError, match=f"{wrong}'.*expected .* cat, dog"):
            class_numbers(tmp_path, [wrong], 2)
    with pytest.raises(ValueError, match="it has none"):
        class_numbers(tmp_path, ["cat"], 0)
