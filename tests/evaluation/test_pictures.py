"""Pictures of a run's samples, to the pixel."""

import gin
import numpy as np
import pytest
from PIL import Image

from sagan.evaluation.pictures import Drawing, draw
from sagan.evaluation.samples import restored_generator
from sagan.latents import fixed_inputs, generate
from sagan.runs.checkpoints import checkpoint_steps
from sagan.runs.record import parse_recorded_config
from sagan.runs.sample_grids import make_grid


@pytest.fixture(autouse=True)
def _parsed(run):
    parse_recorded_config(run)
    yield
    gin.clear_config()


@pytest.fixture(scope="module")
def generator(run):
    parse_recorded_config(run)
    made, _, _ = restored_generator(run, mode="eager")
    gin.clear_config()
    return made


def _draw(run, tmp_path, **drawing):
    text = draw(run, tmp_path / "a.png", None, Drawing(**drawing))
    with Image.open(tmp_path / "a.png") as image:
        return np.asarray(image), text


def test_a_grid_is_of_the_latents_classes_and_threshold(
    run, generator, tmp_path
):
    pixels, text = _draw(
        run, tmp_path, num_images=6, columns=3, classes=("2", "0"), seed=4,
        truncation=0.5,
    )  # fmt: skip
    latents, _ = fixed_inputs(generator, 6, 4, truncation=0.5)
    assert np.abs(latents).max() <= 0.5
    images = generate(generator, latents, np.array([2, 2, 2, 0, 0, 0]))
    np.testing.assert_array_equal(pixels, make_grid(images, 3))
    assert "6 images of step 2, averaged weights" in text
    other, _ = _draw(run, tmp_path, num_images=6, columns=3)
    assert (pixels != other).any()


def test_the_best_checkpoint_is_drawn_by_name(run, tmp_path):
    (best,) = checkpoint_steps(run / "best")
    pixels, text = _draw(run, tmp_path, num_images=2, step="best")
    assert f"step {best}," in text
    same, _ = _draw(run, tmp_path, num_images=2, step=str(best))
    np.testing.assert_array_equal(pixels, same)
    with pytest.raises(ValueError, match="'all': expected last, best or one"):
        _draw(run, tmp_path, step="all")


def test_standing_moments_are_of_truncated_latents(run, tmp_path):
    settings = {"num_images": 4, "seed": 1, "truncation": 0.3}
    moving, _ = _draw(run, tmp_path, **settings)
    standing, _ = _draw(run, tmp_path, **settings, statistics="standing")
    assert (moving != standing).any()


def test_a_path_leads_through_the_first_image_of_each_row(
    run, generator, tmp_path
):
    shape = {"num_images": 12, "columns": 4, "classes": ("3", "1")}
    grid, _ = _draw(run, tmp_path, **shape)
    strip, text = _draw(run, tmp_path, **shape, interpolate=True)
    assert strip.shape == grid.shape
    np.testing.assert_allclose(strip[:, :32].astype(int), grid[:, :32], atol=1)
    assert (strip[:, 34:] != grid[:, 34:]).any()
    assert str(tmp_path / "a_animated.png") in text
    with Image.open(tmp_path / "a_animated.png") as frames:
        assert frames.size == (32, 32)
        frames.seek(5)  # The second image of the second row.
        np.testing.assert_array_equal(
            np.asarray(frames.convert("RGB")), strip[34:66, 34:66]
        )
    with pytest.raises(ValueError, match="both, not 4 and 1. Give a larger"):
        _draw(run, tmp_path, num_images=4, interpolate=True)


def test_neighbours_are_beside_their_samples(run, tmp_path):
    pixels, text = _draw(run, tmp_path, num_images=3, neighbours=2)
    assert pixels.shape == (3 * 34 - 2, 32 + 10 + 2 * 34 - 2, 3)
    grid, _ = _draw(run, tmp_path, num_images=3, columns=1)
    np.testing.assert_array_equal(pixels[:, :32], grid)
    assert (pixels[:, 32:42] == 255).all()
    assert "their 2 nearest real ones by coarse" in text


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        ({"interpolate": True}, "are two pictures"),
        ({"columns": 3}, "--columns is 3: with --neighbours"),
    ],
)
def test_pictures_that_exclude_each_other_are_refused(drawing, message):
    with pytest.raises(ValueError, match=message):
        Drawing(neighbours=2, **drawing)


def test_a_truncation_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="--truncation is nan: expected a num"):
        Drawing(truncation=float("nan"))


def test_fewer_images_than_classes_are_reported(run, tmp_path, caplog):
    _draw(run, tmp_path, num_images=2)
    assert "2 images show 2 of 4 classes" in caplog.text
