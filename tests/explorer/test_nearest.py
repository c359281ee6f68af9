"""Nearest real images beside what the page shows."""

import threading

import keras
import numpy as np
from browser import check_nearest, looked

from sagan.explorer.nearest import Nearest


def test_nearest_real_images_are_shown(
    open_page, runs, pixel_features, real_pixels
):
    page = open_page("first", settings="#seed=5", bindings=[pixel_features])
    assert not page.find(".nearest").is_displayed()
    page.find("#nearest").click()
    check_nearest(page.nearest(), looked(page, runs).pixels, real_pixels)
    text = page.find(".nearest").text
    assert "among all 64 images of synthetic" in text
    # Another image has others; the address keeps the choice.
    page.run("change({seed: 11, class: 3})")
    page.settle()
    page.wait(lambda _: page.find(".nearest").text != text)
    check_nearest(page.nearest(), looked(page, runs).pixels, real_pixels)
    assert "nearest=true" in page.run("return location.hash")
    page.find("#nearest").click()
    assert not page.find(".nearest").is_displayed()


def test_missing_features_are_said_on_the_page(open_page):
    missing = ["make_evaluation.features = '/nowhere/features'"]
    page = open_page("first", settings="#nearest=true", bindings=missing)
    page.wait(
        lambda _: (
            "/nowhere/features does not exist" in page.find(".nearest").text
        )
    )
    page.run("change({seed: 2})")  # And the rest works.
    page.settle()


def test_nothing_is_opened_before_it_is_asked_for(folders, pixel_features):
    nearest = Nearest(folders["first"], [pixel_features])
    threads = threading.active_count()
    image = np.zeros([32, 32, 3], np.uint8)
    answer = nearest.find(image)
    assert answer["waiting"]
    assert answer["text"] == "Opening data and features."
    assert threading.active_count() == threads + 1
    nearest.close()
    assert threading.active_count() == threads


def test_images_of_another_size_are_said(folders, tmp_path):
    path = tmp_path / "wide.keras"
    keras.Sequential([keras.Input([64]), keras.layers.Dense(2)]).save(path)
    bindings = [f"make_evaluation.features = '{path}'"]
    nearest = Nearest(folders["first"], bindings)
    assert nearest.prepare() is None
    assert "cannot embed images of 32 pixels" in nearest.problem
