"""Every kind of image file a folder may hold; broken and hostile ones too."""

import itertools
import os
import pathlib
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sagan.data import make_dataset
from sagan.data.image_files import MAX_PIXELS, read_image
from sagan.data.image_folder import ImageFolder


def _noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [height, width, 3], np.uint8)


def _save(pixels, path, **settings):
    Image.fromarray(pixels).save(path, **settings)
    return path


@pytest.fixture
def classes(tmp_path):
    """Two classes of lossless 20x16 images, one per file and seed."""
    seed = 0
    for name, count in (("b_cats", 3), ("a_dogs", 4)):
        (tmp_path / name / "more").mkdir(parents=True)
        for i in range(count):
            where = tmp_path / name / ("more" if i == 2 else "") / f"{i}.png"
            _save(_noise(20, 16, seed), where)
            seed += 1
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.png").write_bytes(b"no image")
    (tmp_path / "a_dogs" / "._0.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_classes_are_the_sorted_subfolders(classes):
    folder = ImageFolder(str(classes))
    assert folder.class_names == ["a_dogs", "b_cats"]
    assert folder.labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert folder.files[:2] == ["a_dogs/0.png", "a_dogs/1.png"]
    # With images directly in it, it has no classes.
    _save(_noise(9, 9), classes / "top.jpg")
    folder = ImageFolder(str(classes))
    assert (folder.size, folder.num_classes) == (8, 0)


def test_folders_and_settings_that_do_not_fit(classes):
    name = f"folder:{classes}"
    with pytest.raises(FileNotFoundError, match="No folder .*nowhere"):
        make_dataset(f"{name}/nowhere", 16, 2)
    with pytest.raises(ValueError, match="no images.*found no files"):
        make_dataset(f"{name}/empty", 16, 2)
    with pytest.raises(ValueError, match="has 2 classes.*num_classes = 2"):
        make_dataset(name, 16, 2, num_classes=10)
    with pytest.raises(ValueError, match="no class labels"):
        make_dataset(f"{name}/a_dogs/more", 16, 1, num_classes=2)
    with pytest.raises(ValueError, match="folder has no splits"):
        make_dataset(name, 16, 2, split="test")


@pytest.mark.parametrize("cache", [True, False])
def test_blank_images(tmp_path, cache):
    for i in range(2):
        Image.new("RGB", (16, 16), "gray").save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="Every pixel .* is 128"):
        make_dataset(f"folder:{tmp_path}", 16, 2, cache=cache)


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.webp", "bmp.jpg"])
def test_lossless_colour(tmp_path, name):
    settings = {"lossless": True} if name == "x.webp" else {}
    # Of another format than its name says.
    settings |= {"format": "BMP"} if name == "bmp.jpg" else {}
    path = _save(_noise(5, 7), tmp_path / name, **settings)
    np.testing.assert_array_equal(read_image(path), _noise(5, 7))


def test_grey_1_bit_and_16_bit(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    expected = np.repeat(ramp[..., None], 3, axis=-1)
    for pixels in (ramp, ramp.astype(np.uint16) * 257):
        ours = read_image(_save(pixels, tmp_path / "x.png"))
        np.testing.assert_array_equal(ours, expected)
    Image.fromarray(ramp).convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(read_image(tmp_path / "bits.png"))) == {0, 255}


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros([4, 4, 4], np.uint8)
    rgba[..., 0] = 200
    rgba[0, :, 3], rgba[1, :, 3] = 255, 128
    ours = read_image(_save(rgba, tmp_path / "rgba.png"))
    assert ours[0, 0].tolist() == [200, 0, 0]
    assert ours[3, 3].tolist() == [255, 255, 255]
    half = 128 / 255
    blend = [200 * half + 255 * (1 - half)] + [255 * (1 - half)] * 2
    np.testing.assert_allclose(ours[1, 1], blend, atol=1)
    grey = np.array([[[90, 255], [90, 0]]], np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "la.png")
    ours = read_image(tmp_path / "la.png")
    assert ours[0].tolist() == [[90, 90, 90], [255, 255, 255]]


@pytest.mark.parametrize(
    ("settings", "pixel"),
    [({}, [0, 0, 0]), ({"transparency": 0}, [255, 255, 255])],
)
def test_palette(tmp_path, settings, pixel):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.putpixel((2, 1), 0)
    palette.save(tmp_path / "x.png", **settings)
    ours = read_image(tmp_path / "x.png")
    assert ours[1, 2].tolist() == pixel
    assert ours[0, 0].tolist() == [10, 200, 30]


def test_cmyk_jpeg_and_first_frame_of_a_gif(tmp_path):
    flat = Image.new("RGB", (16, 16), (200, 60, 30)).convert("CMYK")
    flat.save(tmp_path / "x.jpg", quality=95)
    ours = read_image(tmp_path / "x.jpg").astype(float)
    np.testing.assert_allclose(ours[8, 8], [200, 60, 30], atol=4)
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "x.gif")[4, 4].tolist() == [255, 0, 0]


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright: turn clockwise.
    path = _save(_noise(5, 7), tmp_path / "x.png", exif=exif)
    turned = np.rot90(_noise(5, 7), k=-1)
    np.testing.assert_array_equal(read_image(path), turned)


@pytest.mark.parametrize("cache", [True, False])
def test_broken_files_are_named_and_skipped(classes, caplog, cache):
    whole = (classes / "a_dogs" / "0.png").read_bytes()
    (classes / "a_dogs" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (classes / "b_cats" / "zero.jpg").write_bytes(b"")
    (classes / "b_cats" / "text.jpg").write_text("this is no image")
    settings = {"num_classes": 2, "cache": cache}
    with pytest.raises(ValueError, match=r"3 of 10 images .*zero\.jpg.*repair"):
        make_dataset(f"folder:{classes}", 16, 2, **settings)
    dataset = make_dataset(
        f"folder:{classes}", 16, 7, max_unreadable=0.5, **settings
    )
    assert dataset.size == 7
    assert dataset.label_histogram.tolist() == [4, 3]
    warning = "\n".join(r.getMessage() for r in caplog.records)
    assert "3 of 10 images" in warning
    for name in ("a_dogs/cut.png", "b_cats/zero.jpg", "b_cats/text.jpg"):
        assert name in warning
    images, labels = next(iter(dataset.batches()))
    expected = {_noise(20, 16, s)[2:18].tobytes(): s < 3 for s in range(7)}
    pixels = np.rint((images.numpy() + 1) * 127.5).astype(np.uint8)
    found = {p.tobytes(): bool(k) for p, k in zip(pixels, labels, strict=True)}
    assert found == expected


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        _save(_noise(16, 16, i), tmp_path / f"good_{i}.png")
    return tmp_path


def _chunk(kind, data):
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def _png(width, height, *chunks):
    """A PNG whose header claims a size that its pixels have not."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = _chunk(b"IDAT", zlib.compress(bytes(100)))
    parts = _chunk(b"IHDR", header), *chunks, pixels, _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _add_faults(folder):
    """Adds files that are not what their names say, and names of no file."""
    for name in ("c.jpg", "c.gif", "c.bmp", "c.webp"):
        whole = _save(_noise(64, 64), folder / name).read_bytes()
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
    os.mkfifo(folder / "pipe.png")
    links = {"broken.png": "none.png", "itself.png": "itself.png"}
    links["endless.png"] = "/dev/zero"
    for name, target in links.items():
        (folder / name).symlink_to(target)
    pathlib.Path(os.fsdecode(bytes(folder) + b"/\xff\n.png")).write_text("no")
    (folder / "a_folder.png").mkdir()
    (folder / "a_folder.png" / "loop").symlink_to("..")
    names = ("c.jpg", "c.gif", "c.bmp", "c.webp", "pipe.png", r"'\udcff\n")
    return [*files, *names, *links]


@pytest.mark.parametrize("cache", [True, False])
def test_what_cannot_be_read_is_named_and_skipped(folder, caplog, cache):
    names = _add_faults(folder)
    settings = {"cache": cache, "max_unreadable": 0.9}
    dataset = make_dataset(f"folder:{folder}", 16, 6, **settings)
    (warning,) = (
        r.getMessage() for r in caplog.records if "cannot be" in r.getMessage()
    )
    assert f"{len(names)} of {len(names) + 6} " in warning
    assert "\n" not in warning
    for name in names:
        assert name in warning
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
