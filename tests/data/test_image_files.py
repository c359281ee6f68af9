"""Transparency in every form that a file can have it, and half files."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from sagan.data.image_files import ends_in_zeros, looks_cut_short, read_image
from sagan.data.pipeline import make_dataset

GREY, RGB = 0, 2


def _png(path, width, depth, kind, row, transparent):
    """Writes a PNG of one row with a transparent colour."""

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        length = struct.pack(">I", len(content))
        return length + name + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"tRNS", transparent)
        + chunk(b"IDAT", zlib.compress(b"\0" + row))
        + chunk(b"IEND", b"")
    )


# Values of the two pixels as they are in the file; the second is transparent.
@pytest.mark.parametrize(
    ("depth", "values", "right"),
    [
        (1, (0, 1), 0),
        (2, (1, 2), 85),
        (4, (3, 8), 51),
        (8, (77, 78), 77),
        (16, (0x8000, 0), 128),
        (16, (0x8001, 0x8000), 128),  # They differ in the last bit alone.
    ],
)
def test_a_transparent_grey(tmp_path, depth, values, right):
    first, second = values
    row = struct.pack(">2H", *values)
    if depth < 16:
        bits = (first << depth | second) << max(8 - 2 * depth, 0)
        row = bits.to_bytes(max(2 * depth // 8, 1))
    _png(tmp_path / "x.png", 2, depth, GREY, row, struct.pack(">H", second))
    assert read_image(tmp_path / "x.png")[0].tolist() == [
        [right] * 3,
        [255] * 3,
    ]


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour(tmp_path, depth):
    form = {8: "6B", 16: ">6H"}[depth]
    scale = {8: 1, 16: 257}[depth]
    colours = [value * scale for value in (200, 60, 30, 200, 60, 31)]
    row, transparent = struct.pack(form, *colours), colours[3:]
    _png(
        tmp_path / "x.png", 2, depth, RGB, row, struct.pack(">3H", *transparent)
    )
    read = read_image(tmp_path / "x.png")
    assert read[0].tolist() == [[200, 60, 30], [255, 255, 255]]


def test_an_alpha_channel_of_a_bitmap_that_is_not_used(tmp_path):
    """Some programs write 32 bits and leave the last eight at zero."""
    pixels = bytes([30, 60, 200, 0] * 2)
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    sizes = struct.pack("<IiiHHIIiiII", 124, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0)
    header = b"BM" + struct.pack("<IHHI", 146, 0, 0, 138)
    (tmp_path / "x.bmp").write_bytes(
        header + sizes + masks + bytes(68) + pixels
    )
    assert read_image(tmp_path / "x.bmp")[0].tolist() == [[200, 60, 30]] * 2
    # Where some of it is used, all of it is.
    pixels = bytes([30, 60, 200, 255, 30, 60, 200, 0])
    (tmp_path / "x.bmp").write_bytes(
        header + sizes + masks + bytes(68) + pixels
    )
    assert read_image(tmp_path / "x.bmp")[0].tolist() == [
        [200, 60, 30],
        [255, 255, 255],
    ]


def test_a_transparent_colour_is_turned_upright_too(tmp_path):
    image = Image.fromarray(np.array([[10, 20], [30, 40]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 3  # Rotated by 180 degrees.
    image.save(tmp_path / "x.png", transparency=10, exif=exif)
    read = read_image(tmp_path / "x.png")[..., 0]
    assert read.tolist() == [[40, 30], [20, 255]]


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG"])
def test_other_names_of_jpeg(tmp_path, suffix):
    from sagan.data.image_folder import ImageFolder

    Image.new("RGB", (8, 8), "red").save(tmp_path / f"x.{suffix}", "JPEG")
    assert ImageFolder(str(tmp_path)).files == [f"x.{suffix}"]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_that_was_cut_and_closed_is_named(tmp_path, caplog, orientation):
    """libjpeg decodes it without an error, its lower half grey."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("half", "whole"):
        image = Image.fromarray(rng.integers(0, 256, [64, 64, 3], np.uint8))
        content = io.BytesIO()
        image.save(content, "JPEG", exif=exif)
        content = content.getvalue()
        if name == "half":
            content = content[: len(content) // 2] + b"\xff\xd9"
        (tmp_path / f"{name}.jpg").write_bytes(content)
    make_dataset(name=f"folder:{tmp_path}", image_size=32, batch_size=2)
    assert "1 JPEG files" in caplog.text
    assert "'half.jpg'. They are used" in caplog.text


_SLOPE = np.add.outer(range(64), range(64)).astype(np.uint8)


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize(
    "pixels",
    [_SLOPE, _SLOPE // 16, np.zeros_like(_SLOPE), np.full_like(_SLOPE, 255)],
    ids=["slope", "dark", "black", "white"],
)
def test_a_jpeg_whose_rest_is_zeros_is_found(pixels, optimize):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", optimize=optimize)
    content = content.getvalue()
    for whole in (content, content + bytes(4096), content[:-2]):
        assert not ends_in_zeros(io.BytesIO(whole))
    start = content.index(b"\xff\xda") + 20
    assert ends_in_zeros(io.BytesIO(content[:start] + bytes(4096)))


def test_a_jpeg_whose_rest_is_zeros_is_named(tmp_path, caplog):
    rng = np.random.default_rng(0)
    for name in ("half", "whole"):
        content = io.BytesIO()
        image = Image.fromarray(rng.integers(0, 256, [64, 64, 3], np.uint8))
        image.save(content, "JPEG")
        content = content.getvalue()
        if name == "half":
            half = len(content) // 2
            content = content[:half] + bytes(len(content) - half)
        (tmp_path / f"{name}.jpg").write_bytes(content)
    make_dataset(name=f"folder:{tmp_path}", image_size=32, batch_size=2)
    assert "1 JPEG files" in caplog.text
    assert "end in zeros, like files that were cut short: 'half" in caplog.text


def test_images_of_one_grey_or_of_another_are_whole():
    grey = np.full([32, 32, 3], 128, np.uint8)
    assert not looks_cut_short(grey)
    image = grey.copy()
    image[:8] = 7
    assert looks_cut_short(image)
    image[-1, 0, 0] = image[10, -1] = image[10, 0] = 127
    assert not looks_cut_short(image)
