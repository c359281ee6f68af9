"""The run as one file, opened from the file system."""

import base64
import gzip
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from browser import Page, check_image, check_maps, check_nearest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from sagan.explorer import live, runtime, shared
from sagan.explorer.live import browser_program
from sagan.explorer.networks import Inputs, Run, Weights
from sagan.explorer.runtime import open_runtime
from sagan.explorer.shared import write_page
from sagan.exporting.generators import PLAIN
from sagan.latents import fixed_inputs


@pytest.fixture(scope="module")
def precise(folders):
    """The run as the file has it: in float32."""
    return Run(folders["first"], PLAIN)


def look(page, run):
    """Returns what TensorFlow computes for what the page shows."""
    latents, classes = page.run(
        "const x = inputsShown(); return [x.latents, x.classes]"
    )
    weights = np.zeros(len(run.classes))
    for number, weight in classes:
        weights[number] += weight
    inputs = Inputs(tuple(np.float32(latents).tolist()), tuple(weights))
    seen = run.look(Weights(run.steps[-1]), inputs)
    for name in [x for x in seen.blocks if x.startswith("discriminator")]:
        del seen.blocks[name]
    return seen


def test_a_file_runs_the_generator_by_itself(
    driver, folders, precise, tmp_path
):
    try:
        open_runtime()
    except ValueError as error:
        pytest.skip(f"no runtime for browsers: {error}")
    out = tmp_path / "run.html"
    text = write_page(folders["first"], [], out)
    assert "its generator in float32" in text
    assert out.stat().st_size < 12e6
    page = Page(driver, out.as_uri()).open()
    check_image(page, look(page, precise))
    canvas = page.find("canvas.image")
    side = canvas.size["width"]
    offset = [int((x + 0.5) / 32 * side - side / 2) for x in (22, 12)]
    ActionChains(driver).move_to_element_with_offset(
        canvas, *offset
    ).click().perform()
    page.wait(lambda _: page.setting("point") == [12, 22])
    page.settle()
    check_maps(page, look(page, precise), 12, 22)
    page.run(
        "change({a: recipeOf(settings), b: recipeOf({...RECIPE, seed: 3, "
        "class: 2, directions: {1: -2}}), mix: .3})"
    )
    page.settle()
    check_image(page, look(page, precise))
    # The values themselves, not only 256 levels.
    latents = np.random.default_rng(0).normal(size=(1, 6)).astype(np.float32)
    classes = np.float32([[0.1, 0.2, 0.3, 0.4]])
    found = driver.execute_async_script(
        "const [latents, classes, done] = arguments;"
        "const { ort, session } = views[0].source;"
        "const tensor = (x) => new ort.Tensor('float32', x, [1, x.length]);"
        "session.run({latents: tensor(latents), classes: tensor(classes)})"
        ".then((outputs) => done(Array.from(outputs.images.data)))",
        *(latents[0].tolist(), classes[0].tolist()),
    )
    images = precise.generator(latents, classes).numpy()
    np.testing.assert_allclose(found, images.ravel(), atol=1e-4)
    assert not page.find("#weights_part").is_displayed()
    assert page.find("#records").text.count("step")
    assert not page.faults()


def test_without_the_runtime_it_has_samples(
    driver, folders, precise, tmp_path, monkeypatch
):
    def missing():
        raise ValueError("npm is not installed.")

    monkeypatch.setattr(live, "open_runtime", missing)
    out = tmp_path / "run.html"
    assert "64 samples with their maps" in write_page(folders["first"], [], out)
    page = Page(driver, out.as_uri()).open("#seed=5&point=[12,22]")
    (latents, labels) = fixed_inputs(precise.generator, 6, columns=1)
    seen = precise.look(
        Weights(8),
        Inputs(
            tuple(latents[5].numpy().tolist()),
            precise.one_class(int(labels[5])),
        ),
    )
    check_image(page, seen)
    check_maps(page, seen, 12, 22)
    page.find("#seed").send_keys(Keys.ARROW_UP)
    page.wait(lambda _: page.setting("seed") == 6)
    page.settle()
    assert not page.find("#latents_part").is_displayed()
    assert not page.faults()


def test_it_says_what_was_and_was_not_measured(
    folders, tmp_path, monkeypatch, pixel_features, real_pixels, precise
):
    def read(bindings):
        monkeypatch.setattr(live, "open_runtime", lambda: (b"x", b"y"))
        monkeypatch.setattr(live, "_convert", lambda *_: b"")
        out = tmp_path / "run.html"
        write_page(folders["first"], bindings, out)
        text = out.read_text().partition('id="shared">')[2]
        return json.loads(text.partition("</script>")[0])

    page = read([pixel_features])
    titles = [picture["title"] for picture in page["pictures"]]
    assert titles[0] == "Samples, step 8, a class a row"
    assert titles[1].endswith("over the checkpoints: steps 4, 8")
    assert titles[2].startswith("Interpolations")
    assert "among all 64 images of synthetic" in titles[3]
    png = base64.b64decode(page["pictures"][3]["png"])
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image)
    latents, labels = fixed_inputs(precise.generator, 10, columns=1)
    inputs = Inputs(
        *(tuple(latents[9].numpy().tolist()), precise.one_class(int(labels[9])))
    )
    image = precise.look(Weights(8), inputs).pixels
    row = pixels[-32:]
    np.testing.assert_array_equal(row[:, :32], image)
    check_nearest(row[:, 42:], image, real_pixels)
    assert not any("copies" in text for text in page["limits"])
    assert [line.split()[:2] for line in page["attention"][1:]] == [
        [step, f"{network}/attention_16"]
        for step in ("4", "8")
        for network in ("generator", "discriminator")
    ]
    (text,) = (
        text
        for text in read(["make_evaluation.features = '/nowhere'"])["limits"]
        if "copies" in text
    )
    assert "/nowhere does not exist" in text


@pytest.mark.parametrize(
    ("size", "width"), [(32, 270), (128, 1038), (256, 1031)]
)
def test_pictures_are_no_wider_than_they_are_shown(size, width):
    rng = np.random.default_rng(0)
    images = rng.choice([-1.0, 1.0], [16, size, size, 3])
    png = base64.b64decode(shared._picture("", images, 8)["png"])
    with Image.open(io.BytesIO(png)) as image:
        assert image.size[0] == width
        assert 110 < np.asarray(image).mean() < 150


def test_a_large_generator_is_left_out(folders, tmp_path, monkeypatch):
    def convert(program, precision):
        del program
        tried.append(precision)
        return np.random.default_rng(0).bytes(2_000_000)

    tried = []
    monkeypatch.setattr(live, "open_runtime", lambda: (b"x", b"y"))
    monkeypatch.setattr(live, "_convert", convert)
    monkeypatch.setattr(shared, "_MOST", (2_000_000, 0))
    text = write_page(folders["grey"], [], tmp_path / "run.html")
    assert tried == ["float32", "float16"]
    assert "samples" in text
    assert (tmp_path / "run.html").stat().st_size <= 2_000_000


@pytest.mark.parametrize("name", ["run.htm", "run"])
def test_other_names_are_refused(folders, tmp_path, name):
    with pytest.raises(ValueError, match="the name of an .html file"):
        write_page(folders["first"], [], tmp_path / name)


def test_values_cannot_end_their_element():
    page = shared.assemble({"name": "</script><script>alert(1)</script>"})
    assert page.count("<script") == 2
    assert "\\u003c/script>" in page


def test_the_browser_program_takes_classes_as_weights(folders):
    run = Run(folders["first"], PLAIN)
    latents = tf.random.stateless_normal([2, 6], [0, 1])
    classes = tf.constant([[0.5, 0.5, 0, 0], [0, 0, 0, 1]], tf.float32)
    expected = run.generator(latents, classes)
    program = browser_program(run.generator)
    found = program.function()(latents, classes)
    np.testing.assert_allclose(found["images"], expected, atol=1e-5)
    assert found["attention_16"].shape == (2, 256, 64)


@pytest.mark.parametrize("content", [b"", b"other"])
def test_another_runtime_is_refused(tmp_path, monkeypatch, content):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = runtime.cache_folder()
    folder.mkdir(parents=True)
    for name in runtime.FILES:
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match="is not that of onnxruntime-web"):
        open_runtime()


def test_without_npm_there_is_no_runtime(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="npm, which brings"):
        open_runtime()


def test_maps_of_samples_are_within_their_rounding(folders, precise):
    seen = precise.first
    packed = shared._pack_sample(seen)
    block = seen.blocks["generator/attention_16"]
    data = gzip.decompress(shared.base64.b64decode(packed[block.name]))
    rows = np.frombuffer(data, np.uint8).reshape(256, 4 + 64)
    largest = rows[:, :4].copy().view("<f4")
    found = largest * (rows[:, 4:] / 255)
    error = np.abs(found - block.maps[0])
    assert np.all(error <= largest / 255 / 2 + 1e-7)
