"""The explorer's page in a real browser."""

import json
import time

import numpy as np
import pytest
from browser import check_image, check_maps, looked
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from sagan.latents import closed_path, fixed_inputs, truncate


def test_a_click_shows_the_weights_of_that_point(open_page, runs):
    page = open_page("first")
    canvas = page.find("canvas.image")
    side = canvas.size["width"]
    offset = [int((x + 0.5) / 32 * side - side / 2) for x in (22, 12)]
    ActionChains(page.driver).move_to_element_with_offset(
        canvas, *offset
    ).click().perform()
    page.wait(lambda _: page.setting("point") == [12, 22])
    page.settle()
    look = looked(page, runs)
    check_image(page, look)
    check_maps(page, look, 12, 22)
    text = page.find(".run").text
    block = look.blocks["generator/attention_16"].statistics
    assert f"gamma {block['gamma']:.3f}" in text
    assert f"({look.logit:.2f})" in text
    # A mouse that only passes shows the map of where it is.
    ActionChains(page.driver).move_to_element_with_offset(
        canvas, -offset[0], -offset[1]
    ).perform()
    time.sleep(0.3)
    check_maps(page, look, 19, 9)
    assert page.setting("point") == [12, 22]


def test_grey_unpooled_and_unconditional(open_page, runs):
    settings = "#point=[3,30]"
    page = open_page("grey", settings=settings)
    assert not page.find("#class_label").is_displayed()
    look = looked(page, runs, "grey")
    check_image(page, look)
    check_maps(page, look, 3, 30)


def test_latents_are_those_of_the_commands(open_page, runs):
    page = open_page("first")
    generator = runs["first"].generator
    for seed in (0, 7, 123456789):
        (latents,), _ = fixed_inputs(generator, 1, seed)
        found = page.run("return drawNormal(arguments[0], 6)", seed)
        np.testing.assert_allclose(found, latents, atol=1e-5)
        for threshold in (0.1, 0.5, 1.7):
            found = page.run(
                "const [n, t] = arguments; "
                "return truncate(drawNormal(n, 6), t, n)",
                *(seed, threshold),
            )
            expected = truncate(latents[None], threshold, [seed, 0])[0]
            np.testing.assert_allclose(found, expected, atol=1e-5)
    latents, labels = fixed_inputs(generator, 2, 3, 1)
    path, classes = closed_path(latents, labels, 4, 4)
    found = page.run(
        "const [a, b] = arguments; return between({latents: a, "
        "classes: [[0, 1]]}, {latents: b, classes: [[1, 1]]}, .25)",
        *(latents[i].numpy().tolist() for i in (0, 1)),
    )
    np.testing.assert_allclose(found["latents"], path[1], atol=1e-5)
    assert found["classes"] == [[0, classes[1][0]], [1, classes[1][1]]]


def test_every_control_changes_the_image(open_page, runs):
    page = open_page("first")
    seen = [page.pixels(page.find("canvas.image"), 32)]

    def check(**values):
        page.wait(
            lambda _: all(page.setting(k) == v for k, v in values.items())
        )
        page.settle()
        check_image(page, looked(page, runs))
        seen.append(page.pixels(page.find("canvas.image"), 32))
        assert np.any(seen[-1] != seen[-2]), values

    page.find("#seed").clear()
    page.find("#seed").send_keys("5")
    check(seed=5)
    Select(page.find("#class")).select_by_visible_text("triangle")
    check(**{"class": 2})
    page.find("#truncation").send_keys(Keys.HOME)
    check(truncation=0.1)
    page.find("#truncation").send_keys(Keys.END)
    check(truncation=3)
    page.find("#step").send_keys(Keys.HOME)
    check(step=4)
    Select(page.find("#weights")).select_by_value("raw")
    check(weights="raw")
    Select(page.find("#statistics")).select_by_value("standing")
    check(statistics="standing")
    page.find("[data-direction='0']").send_keys(Keys.HOME)
    check(directions={"0": -4})
    page.find("#latent").clear()
    page.find("#latent").send_keys("3")
    page.find("#latent_move").send_keys(Keys.END)
    check(directions={"0": -4}, latents={"3": 4})
    page.find("#pin_a").click()
    page.find("#back").click()
    check(directions={}, latents={})
    page.find("#another").click()
    page.find("#pin_b").click()
    page.settle()
    seen.append(page.pixels(page.find("canvas.image"), 32))
    page.find("#mix").send_keys(Keys.ARROW_RIGHT * 10)
    check(mix=0.2)
    page.find("#unpin").click()
    check(a=None, b=None, mix=None)


def test_the_address_reproduces_the_view(open_page, runs):
    page = open_page("first")
    page.run(
        "change({seed: 3, class: 1, directions: {2: 1.5}, latents: {0: -1}, "
        "step: 4, weights: 'raw', point: [5, 9]})"
    )
    page.run("change({a: recipeOf(settings), b: recipeOf(RECIPE), mix: .4})")
    page.settle()
    before = page.run("return settings"), page.run("return location.hash")
    shown = page.pixels(page.find("canvas.image"), 32)
    page.open(before[1])
    assert page.run("return settings") == before[0]
    again = page.pixels(page.find("canvas.image"), 32)
    np.testing.assert_array_equal(again, shown)
    # What is no setting is left out.
    wrong = '#seed=-1&step=5&point=[99,0]&a={"seed":"x"}&x=1&weights=%22no%22'
    page.open(wrong + "&class=3")
    usual = page.run("return defaults()")
    assert page.run("return settings") == usual | {"class": 3}


def test_two_runs_show_the_same_latents(open_page, runs):
    page = open_page("first", "second", settings="#seed=4&step=4&class=1")
    canvases = page.driver.find_elements("css selector", "canvas.image")
    for name, canvas in zip(("first", "second"), canvases, strict=True):
        check_image(page, looked(page, runs, name), canvas)
    titles = [x.text for x in page.driver.find_elements("css selector", "h2")]
    assert titles == ["first", "second", "About first", "About second"]


def test_keys_alone_suffice(open_page, runs):
    page = open_page("first")
    press = lambda *keys: ActionChains(page.driver).send_keys(*keys).perform()  # noqa: E731
    reached = []
    for _ in range(40):
        press(Keys.TAB)
        active = page.driver.switch_to.active_element
        name = active.get_attribute("id") or active.get_attribute("class")
        name = name or active.get_attribute("data-direction")
        if name in reached:
            break
        reached.append(name)
        if name == "image":
            press(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        if name == "seed":
            press(Keys.ARROW_UP)
    page.settle()
    assert page.setting("point") == [17, 18]
    assert page.setting("seed") == 1
    check_maps(page, looked(page, runs), 17, 18)
    controls = page.driver.find_elements(
        "css selector", "#controls input, #controls select, #controls button"
    )
    for control in controls:
        if control.is_enabled():
            name = control.get_attribute("id")
            assert (name or control.get_attribute("data-direction")) in reached


def test_what_is_shown_can_be_kept(open_page, runs, downloads):
    page = open_page("first", settings="#seed=9&point=[1,2]")
    files = [downloads / "explorer.png", downloads / "settings.json"]
    for button, path in zip(("#save_png", "#save_json"), files, strict=True):
        page.find(button).click()
        page.wait(lambda _, path=path: path.is_file())
    kept = json.loads(files[1].read_text())
    assert (kept["seed"], kept["point"]) == (9, [1, 2])
    assert kept["steps"] == {"first": 8}
    with Image.open(files[0]) as image:
        picture = np.asarray(image.convert("RGB"))[:256, :256]
    shown = page.pixels(page.find("canvas.image"), 32)
    np.testing.assert_array_equal(picture[4::8, 4::8], shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_phone_and_a_desk(open_page, width, scheme):
    page = open_page("first")
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1}
    command = page.driver.execute_cdp_cmd
    command(
        "Emulation.setDeviceMetricsOverride",
        metrics | {"mobile": False},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    command("Emulation.setEmulatedMedia", {"features": features})
    page.open()
    assert page.run("return document.documentElement.scrollWidth") <= width
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    brightness = int(ground.removeprefix("rgb(").split(",")[0])
    assert (brightness > 128) == (scheme == "light")
    command("Emulation.clearDeviceMetricsOverride", {})
    command("Emulation.setEmulatedMedia", {"features": []})


def test_an_error_is_a_line_on_the_page(open_page, runs, tmp_path):
    page = open_page("second", settings="#seed=1")
    index = runs["second"].folder / "step_00000005/checkpoint.index"
    index.rename(tmp_path / "index")
    page.run("change({statistics: 'standing'})")
    page.wait(lambda _: page.find("#error").is_displayed())
    (tmp_path / "index").rename(index)
    assert "is damaged" in page.find("#error").text
    page.run("change({seed: 2})")
    page.settle()
    assert not page.find("#error").is_displayed()
    page.driver.get_log("browser")  # Which counts the answer as an error.
