"""Broken, hostile and missing files: one line that names them, and no hang."""

import itertools
import json
import os
import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from fake_tfds import write_fake
from PIL import Image

from sagan.data import make_dataset
from sagan.data.batches import reading
from sagan.data.image_files import MAX_PIXELS, read_image
from sagan.data.image_folder import ImageFolder

both_modes = pytest.mark.parametrize("cache", [True, False])


def _noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [height, width, 3], np.uint8)


def _chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def _png(width, height, *chunks):
    """A PNG whose header claims a size that its pixels have not."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress(bytes(100)))
    parts = _chunk(b"IHDR", header), *chunks, pixels, _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        Image.fromarray(_noise(16, 16, i)).save(tmp_path / f"good_{i}.png")
    return tmp_path


def _contents(folder):
    """Files that are not what their names say."""
    for name in ("c.jpg", "c.gif", "c.bmp", "c.webp"):
        Image.fromarray(_noise(64, 64)).save(folder / name)
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 3])
    text = _chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(5_000_000)))
    files = {
        "zero.png": b"",
        "html.jpg": b"<!doctype html><html>404</html>",
        "program.jpg": b"\x7fELF\2\1\1" + bytes(100),
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        # Pillow would start Ghostscript.
        "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        b"%%EndComments\nshowpage\n%%EOF\n",
        "bomb.png": _png(30_000, 30_000),
        "text_bomb.png": _png(5, 5, text),
        "exif.png": _png(5, 5, _chunk(b"eXIf", b"rubbish")),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return [*files, "c.jpg", "c.gif", "c.bmp", "c.webp"]


def _places(folder):
    """Names behind which there is no file to read."""
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    pathlib.Path(os.fsdecode(bytes(folder) + b"/\xff\n.png")).write_text("no")
    (folder / "a_folder.png").mkdir()
    (folder / "a_folder.png" / "loop").symlink_to("..")
    return ["pipe.png", "broken.png", "itself.png", "endless.png", r"'\udcff\n"]


@both_modes
@pytest.mark.parametrize("add_faults", [_contents, _places])
def test_what_cannot_be_read_is_named_and_skipped(
    folder, caplog, cache, add_faults
):
    names = add_faults(folder)
    name = f"folder:{folder}"
    with pytest.raises(ValueError, match=f"{len(names)} of {len(names) + 6} "):
        make_dataset(name, image_size=16, batch_size=6, cache=cache)
    settings = {"cache": cache, "max_unreadable": 0.9}
    dataset = make_dataset(name, image_size=16, batch_size=6, **settings)
    (warning,) = (
        r.getMessage() for r in caplog.records if "cannot be" in r.getMessage()
    )
    assert "\n" not in warning
    for name in names:
        assert name in warning
    if add_faults is _contents:
        assert "(DecompressionBombError: Image size (900000000" in warning
        assert f"limit of {MAX_PIXELS}" in warning
        assert "Ghostscript" not in warning
    assert dataset.size == 6
    images = next(iter(dataset.batches()))[0].numpy()
    pixels = np.rint((images + 1) * 127.5).astype(np.uint8)
    expected = {_noise(16, 16, i).tobytes() for i in range(6)}
    assert {image.tobytes() for image in pixels} == expected


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_largest_photographs_pass_their_header(tmp_path):
    # That of a phone of 200 megapixels; here it has no pixels.
    (tmp_path / "x.png").write_bytes(_png(16_320, 12_240))
    with pytest.raises(OSError, match="truncated"):
        read_image(tmp_path / "x.png")


def test_another_format_than_its_name_says_is_read(tmp_path):
    Image.fromarray(_noise(9, 9)).save(tmp_path / "x.bmp")
    (tmp_path / "x.bmp").rename(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), _noise(9, 9))


def test_loops_of_links_are_left(folder, caplog):
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "down").symlink_to(folder / "deep")
    assert len(ImageFolder(str(folder)).files) == 6
    assert "deep/up' leads back" in caplog.text


def test_a_folder_that_must_not_be_read_is_no_empty_one(folder, monkeypatch):
    scandir = os.scandir

    def scan(path):
        if os.path.basename(path) == "secret":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    (folder / "secret").mkdir()
    monkeypatch.setattr(os, "scandir", scan)
    with pytest.raises(PermissionError, match="secret' cannot be listed"):
        ImageFolder(str(folder))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (pathlib.Path.unlink, "good_3.png.*FileNotFoundError"),
        (lambda path: path.write_text("?"), "good_3.png.*UnidentifiedImage"),
        (lambda path: shutil.rmtree(path.parent), "good_.*FileNotFoundError"),
    ],
)
def test_files_that_vanish_while_they_are_read(folder, fault, message):
    dataset = make_dataset(f"folder:{folder}", 16, 2, cache=False)
    batches = dataset.checked(dataset.batches())
    next(batches)
    fault(folder / "good_3.png")
    with pytest.raises(OSError, match=message) as info:
        list(itertools.islice(batches, 1000))
    text = str(info.value)
    assert text.startswith(f"Folder {str(folder)!r} cannot be read")
    assert "\n" not in text
    assert "Traceback" not in text


def test_a_lost_worker_is_no_fault_of_the_data():
    lost = "Collective ops is aborted by: another worker"
    with pytest.raises(tf.errors.InternalError), reading("Data", "Fix."):
        raise tf.errors.InternalError(None, None, lost)
    path = "/data/Collective/x.png: FileNotFoundError"
    with (
        pytest.raises(OSError, match=f"Data cannot be read: {path}. Fix."),
        reading("Data", "Fix."),
    ):
        raise tf.errors.InvalidArgumentError(None, None, path)


VERSION = "fashion_mnist/3.0.1"
RECORDS = f"{VERSION}/fashion_mnist-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, [80, 28, 28, 1], np.uint8)
    examples = [{"image": x, "label": i % 10} for i, x in enumerate(grey)]
    write_fake("fashion_mnist", str(root), examples)
    return root


def _cut(root):
    records = (root / RECORDS).read_bytes()
    (root / RECORDS).write_bytes(records[:-500])


def _end_early(root):
    records = tf.data.TFRecordDataset(root / RECORDS).take(79)
    _write(root, list(records.as_numpy_iterator()))


def _flip(root):
    records = bytearray((root / RECORDS).read_bytes())
    records[-500] ^= 1
    (root / RECORDS).write_bytes(records)


def _damage_image(root):
    records = list(tf.data.TFRecordDataset(root / RECORDS).as_numpy_iterator())
    example = tf.train.Example.FromString(records[-1])
    example.features.feature["image"].bytes_list.value[0] = b"no image"
    records[-1] = example.SerializeToString()
    _write(root, records)


def _write(root, records):
    with tf.io.TFRecordWriter(str(root / RECORDS)) as writer:
        for record in records:
            writer.write(record)


@both_modes
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_cut, "truncated record at"),
        (_end_early, "contain 80 elements but contained only 79"),
        (_flip, "corrupted record at"),
        (lambda root: (root / RECORDS).unlink(), "00000-of-00001; No such"),
        (_damage_image, "image"),
    ],
    ids=["cut", "early", "flipped", "gone", "image"],
)
def test_damaged_tfds_files(prepared, tmp_path, cache, fault, message):
    root = tmp_path / "copy"
    shutil.copytree(prepared, root)
    fault(root)

    def read():
        dataset = make_dataset(
            *("fashion_mnist", 28, 8), cache=cache, data_dir=str(root)
        )
        list(dataset.checked(dataset.one_pass()))

    with pytest.raises(OSError, match=message) as info:
        read()
    text = str(info.value).split("\n  In call to configurable")[0]
    assert text.startswith(f"Dataset {VERSION} in '{root / VERSION}'")
    assert f"delete '{root / VERSION}' and add --download" in text
    assert "\n" not in text
    assert "{{" not in text


def test_a_damaged_description_names_its_folder(prepared, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(prepared, root)
    path = root / VERSION / "dataset_info.json"
    for damage in (path.read_text()[:200], "", json.dumps([])):
        path.write_text(damage)
        folder = root / "fashion_mnist"
        with pytest.raises(OSError, match=f"damaged.*delete '{folder}'"):
            make_dataset("fashion_mnist", 28, 8, data_dir=str(root))


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "x\n../y", "a\0b", "cifar10/../x", "mnist:9.9.9"],
)
def test_a_name_that_is_a_path_is_no_dataset(tmp_path, name):
    with pytest.raises(ValueError, match="cannot build .*close to it") as info:
        make_dataset(name, 28, 8, data_dir=str(tmp_path))
    assert len(str(info.value)) < 600
    assert not list(tmp_path.iterdir())


def test_tfds_files_deleted_between_epochs(prepared, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(prepared, root)
    dataset = make_dataset(
        *("fashion_mnist", 28, 8), cache=False, data_dir=str(root)
    )
    batches = dataset.checked(dataset.batches())
    next(batches)
    shutil.rmtree(root)
    with pytest.raises(OSError, match="00000-of-00001; No such file"):
        list(itertools.islice(batches, 1000))
