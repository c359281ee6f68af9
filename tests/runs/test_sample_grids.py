"""Grids to the pixel, and images that depend on their own latents only."""

import types

import numpy as np
import pytest
from PIL import Image

from sagan.generator import build_generator
from sagan.latents import fixed_inputs, generate
from sagan.runs.sample_grids import (
    grid_shape,
    make_grid,
    save_animation,
    save_png,
    to_uint8,
)


def _shapes(num_classes=4, latent_dim=16):
    return types.SimpleNamespace(num_classes=num_classes, latent_dim=latent_dim)


@pytest.fixture(scope="module")
def generator():
    return build_generator(
        32,
        base_channels=2,
        num_classes=4,
        latent_dim=8,
        attention_resolutions=(16,),
    )


def test_pixels_round_to_the_nearest_and_clip():
    steps = np.arange(256)
    np.testing.assert_array_equal(to_uint8(steps / 127.5 - 1.0), steps)
    values = np.array([-1.0, 1.0, 0.0, -2.0, 2.0])
    # 0 is 127.5, which rounds to the even neighbour.
    np.testing.assert_array_equal(to_uint8(values), [0, 255, 128, 0, 255])
    below, above = (41.49 / 127.5 - 1, 41.51 / 127.5 - 1)
    np.testing.assert_array_equal(to_uint8(np.array([below, above])), [41, 42])
    assert to_uint8(values.astype(np.float32)).dtype == np.uint8


def test_grid_is_row_by_row_on_white():
    levels = np.array([0, 50, 100, 150, 200])
    images = np.ones((5, 2, 3, 1)) * (levels / 127.5 - 1).reshape(5, 1, 1, 1)
    images[0, 1, 2] = 255 / 127.5 - 1
    expected = np.array(
        [
            [0, 0, 0, 255, 50, 50, 50, 255, 100, 100, 100],
            [0, 0, 255, 255, 50, 50, 50, 255, 100, 100, 100],
            [255] * 11,
            [150, 150, 150, 255, 200, 200, 200, 255, 255, 255, 255],
            [150, 150, 150, 255, 200, 200, 200, 255, 255, 255, 255],
        ]
    )
    grid = make_grid(images, columns=3, gap=1)
    assert grid.dtype == np.uint8
    np.testing.assert_array_equal(grid[..., 0], expected)


@pytest.mark.parametrize(
    ("count", "columns", "gap", "size"),
    [
        (16, 8, 2, (2 * 6 - 2, 8 * 5 - 2)),
        (3, 8, 2, (4, 3 * 5 - 2)),  # One row is no wider than it is full.
        (9, 8, 0, (8, 24)),
        (1, 8, 2, (4, 3)),
    ],
)
def test_grid_size(count, columns, gap, size):
    grid = make_grid(np.zeros((count, 4, 3, 3)), columns, gap)
    assert grid.shape == (*size, 3)


@pytest.mark.parametrize(
    ("asked", "rows", "shape"),
    [
        ((None, None), 1, (64, 8)),
        ((None, None), 4, (64, 8)),
        ((None, None), 10, (60, 6)),
        ((None, None), 1000, (64, 1)),
        ((80, None), 10, (80, 8)),
        ((25, None), 10, (25, 2)),
        ((None, 5), 10, (60, 5)),
        ((None, 100), 10, (100, 100)),
        ((7, 3), 10, (7, 3)),
    ],
)
def test_a_grid_shows_every_class_if_it_can(asked, rows, shape):
    assert grid_shape(*asked, rows) == shape


@pytest.mark.parametrize("channels", [1, 3])
def test_an_animation_is_its_images_in_order_and_endless(tmp_path, channels):
    images = np.random.default_rng(0).uniform(-1, 1, (5, 4, 6, channels))
    save_animation(tmp_path / "walk.png", images, 80)
    with Image.open(tmp_path / "walk.png") as file:
        assert (file.format, file.n_frames, file.info["loop"]) == ("PNG", 5, 0)
        for i, image in enumerate(to_uint8(images)):
            file.seek(i)
            assert file.info["duration"] == 80
            frame = file.convert("L" if channels == 1 else "RGB")
            np.testing.assert_array_equal(
                np.asarray(frame).reshape(image.shape), image
            )
    assert len(list(tmp_path.iterdir())) == 1


def test_colours_stay_in_their_channel():
    images = np.full((2, 1, 1, 3), -1.0)
    images[0, ..., 0] = images[1, ..., 2] = 1.0
    grid = make_grid(images, gap=0)
    np.testing.assert_array_equal(grid, [[[255, 0, 0], [0, 0, 255]]])


def test_one_class_a_row():
    _, labels = fixed_inputs(_shapes(num_classes=3), 20, columns=4)
    expected = [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4 + [1] * 4
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == "int32"
    _, labels = fixed_inputs(_shapes(num_classes=0), 20, columns=4)
    np.testing.assert_array_equal(labels, np.zeros(20))


def test_latents_are_standard_normal_and_a_function_of_the_seed():
    latents, _ = fixed_inputs(_shapes(latent_dim=64), 100, seed=3)
    assert latents.shape == (100, 64)
    assert latents.dtype == "float32"
    # Six standard errors of mean and standard deviation of 6400 numbers.
    assert abs(np.mean(latents)) < 6 / 80
    assert abs(np.std(latents) - 1) < 6 / 80 / np.sqrt(2)
    again, _ = fixed_inputs(_shapes(latent_dim=64), 100, seed=3)
    np.testing.assert_array_equal(again, latents)
    other, _ = fixed_inputs(_shapes(latent_dim=64), 100, seed=4)
    assert not np.any(other.numpy() == latents.numpy())


def test_an_image_does_not_depend_on_its_batch(generator):
    for layer in generator.blocks:
        layer.norm1.moving_mean.assign_add([0.1] * layer.norm1.gain.shape[-1])
    before = generator.get_weights()
    inputs = fixed_inputs(generator, 7, columns=2)
    whole = generate(generator, *inputs)
    # The sum of a convolution's products may be taken in another order.
    for batch_size in (1, 3, 7):
        parts = generate(generator, *inputs, batch_size=batch_size)
        np.testing.assert_allclose(parts, whole, atol=1e-5)
    for one, other in zip(generator.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_labels_reach_the_images(generator):
    for block in generator.blocks:
        table = block.norm1.bias
        table.assign(np.random.default_rng(0).normal(size=table.shape))
    latents, _ = fixed_inputs(generator, 2)
    zero, one = (generate(generator, latents, np.array([i, i])) for i in (0, 1))
    assert np.abs(zero - one).max() > 1e-3


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_png_holds_the_pixels(tmp_path, channels, mode):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    path = tmp_path / "new" / "folder" / "grid.png"
    save_png(path, pixels)
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        read = np.asarray(image).reshape(pixels.shape)
    np.testing.assert_array_equal(read, pixels)
    assert [file.name for file in path.parent.iterdir()] == ["grid.png"]


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path):
    path = tmp_path / "grid.png"
    pixels = np.full((2, 2, 3), 9, np.uint8)
    save_png(path, pixels)
    before = path.read_bytes()
    # PNG has no image without pixels: the encoder fails on an open file.
    with pytest.raises((SystemError, ValueError)):
        save_png(path, np.zeros((0, 4, 3), np.uint8))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.iterdir())
    for name in ("grid.jpg", "grid", "folder.png", "file/grid.png"):
        with pytest.raises(ValueError, match=name):
            save_png(tmp_path / name, np.zeros([2, 2, 3], np.uint8))
    assert sorted(tmp_path.iterdir()) == before
