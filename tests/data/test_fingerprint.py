"""Which data these are: fingerprints, classes, and splits that overlap."""

import logging as stdlib_logging
import os
import shutil

import numpy as np
import pytest
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.image_folder import ImageFolder
from sagan.data.tfds import TfdsImages


def _save(path, seed=0, suffix="bmp"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, [8, 8, 3], np.uint8)
    Image.fromarray(pixels).save(path.with_suffix(f".{suffix}"))


@pytest.fixture
def pets(tmp_path):
    for i, name in enumerate(["cat/a", "cat/b", "dog/a", "dog/b"]):
        _save(tmp_path / "pets" / name, i)
    return tmp_path / "pets"


def _open(folder, **settings):
    defaults = {"image_size": 8, "batch_size": 2, "num_classes": 2}
    return make_dataset(f"folder:{folder}", **defaults | settings)


def _fingerprint(folder):
    return ImageFolder(str(folder)).identity().fingerprint


def test_a_folder_keeps_its_fingerprint_when_it_moves(pets, tmp_path):
    before = ImageFolder(str(pets)).identity()
    moved = pets.rename(tmp_path / "moved")
    after = ImageFolder(str(moved)).identity()
    assert (after.fingerprint, after.times) == (
        before.fingerprint,
        before.times,
    )
    copy = ImageFolder(shutil.copytree(moved, tmp_path / "copy")).identity()
    assert copy.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda pets: _save(pets / "cat/a", seed=9),  # Of the same size.
        lambda pets: (pets / "cat/a.bmp").unlink(),
        lambda pets: _save(pets / "cat/c"),
        lambda pets: (pets / "cat/a.bmp").rename(pets / "dog/c.bmp"),
        lambda pets: (pets / "cat").rename(pets / "eel"),
    ],
    ids=["overwritten", "deleted", "added", "relabelled", "renamed class"],
)
def test_other_images_or_labels_have_another_fingerprint(pets, change):
    before = _fingerprint(pets)
    change(pets)
    assert _fingerprint(pets) != before


def test_class_names_and_counts_are_logged_and_recorded(pets, caplog):
    caplog.set_level(stdlib_logging.INFO, logger="absl")
    dataset = _open(pets)
    assert "2 classes (cat 2, dog 2)" in caplog.text
    assert dataset.describe()["classes"] == ["cat", "dog"]
    assert dataset.describe()["counts"] == [2, 2]
    assert _open(pets, num_classes=0).describe()["classes"] == []


def test_splits_are_not_taken_for_classes(tmp_path):
    _save(tmp_path / "set/Train/cat/a")
    _save(tmp_path / "set/val/cat/b")
    with pytest.raises(ValueError, match="splits rather than .*set/Train'"):
        _open(tmp_path / "set")
    assert _open(tmp_path / "set", num_classes=0).size == 2


def test_a_class_without_readable_images_is_named(pets):
    (pets / "eel").mkdir()
    (pets / "eel/x.tif").write_bytes(b"")
    with pytest.raises(ValueError, match="'eel' of .*but 1 .tif"):
        _open(pets)
    (pets / "eel/x.tif").rename(pets / "eel/x.png")
    with pytest.raises(ValueError, match="No image of class 'eel'"):
        _open(pets, num_classes=3, max_unreadable=0.5)


def test_an_empty_sub_folder_is_named_where_the_number_is_wrong(pets):
    (pets / "eel").mkdir()
    assert _open(pets).num_classes == 2
    with pytest.raises(ValueError, match=r"2 classes \(and eel without images"):
        _open(pets, num_classes=3)


def test_files_left_out_are_counted_by_suffix(pets, caplog):
    caplog.set_level(stdlib_logging.INFO, logger="absl")
    for name in ("cat/1.tif", "dog/2.TIF", "dog/3.avif", "README"):
        (pets / name).write_bytes(b"")
    (pets / "@eaDir").mkdir()
    _save(pets / "@eaDir/thumbnail")
    assert _open(pets).size == 4
    assert "left out 2 .tif, 1 without suffix, 1 .avif" in caplog.text


def test_a_folder_without_a_path_is_refused():
    with pytest.raises(ValueError, match="'folder:' without a path"):
        _open("")


@pytest.mark.parametrize("cache", [True, False])
def test_dark_images_are_reported(tmp_path, caplog, cache):
    for i in range(70):
        deep = np.full([8, 8], 4095 if i < 69 else 0, np.uint16)
        Image.fromarray(deep).save(tmp_path / f"{i}.png")
    _open(tmp_path, num_classes=0, cache=cache)
    assert "nearly black. Multiply 12-bit" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["set[1]", "a b", "a*b?", "é", "{a,b}", "a\\b", "50%#", "'\"", "a\nb"]
    + ["n" * 200, "~", "-x"],
)
def test_any_name_of_a_folder(pets, name):
    (pets.parent / "set1").mkdir()  # What a pattern would match.
    dataset = _open(pets.rename(pets.parent / name))
    (images, _), *_ = dataset.batches().take(1)
    assert images.shape == (2, 8, 8, 3)


def _digits(count, seed):
    images = np.random.default_rng(seed).integers(
        0, 256, [count, 28, 28, 1], np.uint8
    )
    return [{"image": x, "label": i % 10} for i, x in enumerate(images)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS folder whose name TFDS would take for a pattern."""
    root = tmp_path_factory.mktemp("tfds") / "data[1]"
    plain = root.parent / "plain"
    write_fake("mnist", plain, _digits(20, 0), 2, test=_digits(10, 1))
    plain.rename(root)
    return root


def test_a_tfds_folder_of_any_name(prepared):
    dataset = make_dataset(
        "mnist", 28, 4, channels=1, num_classes=10, data_dir=str(prepared)
    )
    assert dataset.size == 20
    assert dataset.describe()["name"] == "mnist/3.0.1"
    same = TfdsImages("mnist:3.0.1", "train", str(prepared))
    assert same.identity() == dataset.identity
    assert dataset.describe()["classes"][:2] == ["0", "1"]
    next(iter(dataset.batches()))


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("train", "test", False),
        ("train", "train+test", True),
        ("train[:50%]", "train[50%:]", False),
        ("train[:60%]", "train[50%:]", True),
        ("all", "test", True),
        ("train[:10]", "train[10:]", False),
        ("train[:2]+train[18:]", "train[:1]", True),
        ("train[:2]+train[18:]", "train[4:6]+train[18:]", True),
        ("train[:2]+train[18:]", "train[2:18]", False),
    ],
)
def test_splits_overlap_by_their_examples(prepared, one, other, overlap):
    first, second = (
        TfdsImages("mnist", split, str(prepared)).identity()
        for split in (one, other)
    )
    assert first.overlaps(second) == second.overlaps(first) == overlap
    assert first.fingerprint != second.fingerprint


def test_an_empty_split_is_refused(prepared):
    with pytest.raises(ValueError, match=r"'train\[:0\]' of .* is empty"):
        TfdsImages("mnist", "train[:0]", str(prepared))


def test_a_wrong_number_of_classes_is_known_before_a_download(tmp_path):
    with pytest.raises(ValueError, match="'mnist' has 10 classes"):
        make_dataset(
            "mnist", 28, 4, num_classes=3, data_dir=str(tmp_path), download=True
        )
    assert not os.listdir(tmp_path)
