"""Every kind of image file a folder may hold, and broken ones."""

import numpy as np
import pytest
from PIL import Image

from sagan.data import make_dataset
from sagan.data.image_files import read_image
from sagan.data.image_folder import ImageFolder


def _noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, [height, width, 3], np.uint8)


@pytest.fixture
def classes(tmp_path):
    """Two classes of lossless 20x16 images, one per file and seed."""
    seed = 0
    for name, count in (("b_cats", 3), ("a_dogs", 4)):
        (tmp_path / name / "more").mkdir(parents=True)
        for i in range(count):
            where = tmp_path / name / ("more" if i == 2 else "") / f"{i}.png"
            Image.fromarray(_noise(20, 16, seed)).save(where)
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
    dataset = make_dataset(
        f"folder:{classes}", image_size=16, batch_size=2, num_classes=2
    )
    assert dataset.label_histogram.tolist() == [4, 3]


def test_images_directly_in_the_folder_have_no_class(classes):
    Image.fromarray(_noise(9, 9)).save(classes / "top.jpg")
    folder = ImageFolder(str(classes))
    assert folder.size == 8
    assert folder.num_classes == 0


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_lossless_colour(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(_noise(5, 7)).save(path)
    np.testing.assert_array_equal(read_image(path), _noise(5, 7))


def test_grey_1_bit_and_16_bit(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    deep = ramp.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = np.repeat(ramp[..., None], 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), expected)
    Image.fromarray(ramp).convert("1").save(tmp_path / "bits.png")
    assert set(np.unique(read_image(tmp_path / "bits.png"))) == {0, 255}


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.zeros([4, 4, 4], np.uint8)
    rgba[..., 0] = 200
    rgba[0, :, 3], rgba[1, :, 3] = 255, 128
    Image.fromarray(rgba).save(tmp_path / "rgba.png")
    ours = read_image(tmp_path / "rgba.png")
    assert ours[0, 0].tolist() == [200, 0, 0]
    assert ours[3, 3].tolist() == [255, 255, 255]
    half = 128 / 255
    blend = [200 * half + 255 * (1 - half)] + [255 * (1 - half)] * 2
    np.testing.assert_allclose(ours[1, 1], blend, atol=1)

    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.putpixel((2, 1), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    ours = read_image(tmp_path / "palette.png")
    assert ours[1, 2].tolist() == [255, 255, 255]
    assert ours[0, 0].tolist() == [10, 200, 30]

    grey = np.array([[[90, 255], [90, 0]]], np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "la.png")
    ours = read_image(tmp_path / "la.png")
    assert ours[0].tolist() == [[90, 90, 90], [255, 255, 255]]


def test_palette_without_transparency(tmp_path):
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png")[3, 3].tolist() == [10, 200, 30]


def test_cmyk_jpeg(tmp_path):
    flat = Image.new("RGB", (16, 16), (200, 60, 30)).convert("CMYK")
    flat.save(tmp_path / "x.jpg", quality=95)
    ours = read_image(tmp_path / "x.jpg").astype(float)
    np.testing.assert_allclose(ours[8, 8], [200, 60, 30], atol=4)


def test_first_frame_of_a_gif(tmp_path):
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "x.gif")[4, 4].tolist() == [255, 0, 0]


def test_webp(tmp_path):
    Image.fromarray(_noise(8, 8)).save(tmp_path / "x.webp", lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / "x.webp"), _noise(8, 8))


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright: turn clockwise.
    Image.fromarray(_noise(5, 7)).save(tmp_path / "x.png", exif=exif)
    turned = np.rot90(_noise(5, 7), k=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), turned)


def _break_some(folder):
    whole = (folder / "a_dogs" / "0.png").read_bytes()
    (folder / "a_dogs" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b_cats" / "zero.jpg").write_bytes(b"")
    (folder / "b_cats" / "text.jpg").write_text("this is no image")


@pytest.mark.parametrize("cache", [True, False])
def test_broken_files_are_named_and_skipped(classes, caplog, cache):
    _break_some(classes)
    dataset = make_dataset(
        f"folder:{classes}",
        image_size=16,
        batch_size=7,
        num_classes=2,
        cache=cache,
        max_unreadable=0.5,
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


@pytest.mark.parametrize("cache", [True, False])
def test_too_many_broken_files(classes, cache):
    _break_some(classes)
    with pytest.raises(ValueError, match=r"3 of 10 images .*zero\.jpg.*repair"):
        make_dataset(
            f"folder:{classes}", image_size=16, batch_size=2, cache=cache
        )


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="No folder .*nowhere"):
        make_dataset(f"folder:{tmp_path}/nowhere", image_size=16, batch_size=2)
    (tmp_path / "x.tiff").write_bytes(b"")
    with pytest.raises(ValueError, match="no images.*found 1 .tiff"):
        make_dataset(f"folder:{tmp_path}", image_size=16, batch_size=2)


def test_wrong_class_counts_and_splits(classes):
    name = f"folder:{classes}"
    with pytest.raises(ValueError, match="has 2 classes.*num_classes = 2"):
        make_dataset(name, image_size=16, batch_size=2, num_classes=10)
    with pytest.raises(ValueError, match="no class labels"):
        make_dataset(
            f"{name}/a_dogs/more", image_size=16, batch_size=1, num_classes=2
        )
    with pytest.raises(ValueError, match="folder has no splits"):
        make_dataset(name, image_size=16, batch_size=2, split="test")


@pytest.mark.parametrize("cache", [True, False])
def test_blank_images(tmp_path, cache):
    for i in range(3):
        Image.new("RGB", (16, 16), "gray").save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="Every pixel .* is 128"):
        make_dataset(
            f"folder:{tmp_path}", image_size=16, batch_size=2, cache=cache
        )
