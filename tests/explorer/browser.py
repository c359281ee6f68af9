"""A headless Chromium, driven as a person would use it."""

import base64
import io
import json
import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from werkzeug.serving import make_server

from sagan.explorer.listening import Handler
from sagan.explorer.networks import Inputs, Weights

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI is root, and opens only this page.
    "--disable-dev-shm-usage",
    "--window-size=1280,1600",
    # Nothing of the browser's own among the requests.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# Of the maps.
_ORANGE = (230, 159, 0)
_SETTLED = "return views.length > 0 && views.every((x) => x.look && !x.busy)"


def open_browser(folder):
    """Returns a driver; skips the test where there is no browser.

    CI must have one.

    Args:
        folder: Where downloads go.
    """
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        problem = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        problem("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for flag in _FLAGS:
        options.add_argument(flag)
    logs = {"browser": "ALL", "performance": "ALL"}
    options.set_capability("goog:loggingPrefs", logs)
    driver = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(folder)},
    )
    return driver


class Server:
    """Serves an application on a port of its own."""

    def __init__(self, application):
        self.application = application
        self.server = make_server(
            *("127.0.0.1", 0, application),
            threaded=True,
            request_handler=Handler,
        )
        self.url = f"http://127.0.0.1:{self.server.port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()


class Page:
    """The page in a browser."""

    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    def open(self, settings=""):
        # From another page, as a new address would not load it again.
        self.driver.get("about:blank")
        self.driver.get(self.url + settings)
        self.settle()
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition):
        return WebDriverWait(self.driver, 60, 0.05).until(condition)

    def settle(self):
        """Waits until what is shown is what the settings say."""
        self.wait(lambda _: self.run(_SETTLED))

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def setting(self, name):
        return self.run("return settings[arguments[0]]", name)

    def pixels(self, canvas, size):
        """Returns what a canvas shows, one value a pixel of the image."""
        url = self.run("return arguments[0].toDataURL()", canvas)
        data = base64.b64decode(url.partition(",")[2])
        with Image.open(io.BytesIO(data)) as image:
            shown = np.asarray(image.convert("RGB"))
        scale = len(shown) // size
        return shown[scale // 2 :: scale, scale // 2 :: scale]

    def nearest(self):
        """Returns the row of real images, once there is one."""
        found = lambda _: self.run(  # noqa: E731
            "return document.querySelector('.nearest img')?.src"
        )
        data = base64.b64decode(self.wait(found).split(",")[1])
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    def faults(self):
        """Returns errors of the console, and requests to other places."""
        errors = [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith((self.url, "data:", "blob:", "about:")):
                    errors.append(url)
        return errors


def looked(page, runs, name="first"):
    """Returns what the networks compute for what the page shows."""
    latents, classes = page.run(
        "const x = inputsShown(); return [x.latents, x.classes]"
    )
    run = runs[name]
    weights = np.zeros(len(run.classes))
    for number, weight in classes:
        weights[number] += weight
    latents = tuple(np.float32(latents).tolist())
    step = page.run(
        "return stepOf(runs.find((x) => x.name === arguments[0]))", name
    )
    which = Weights(step, page.setting("weights"), page.setting("statistics"))
    return run.look(which, Inputs(latents, tuple(weights)))


def check_image(page, look, canvas=None):
    canvas = canvas or page.find("canvas.image")
    size = look.pixels.shape[0]
    shown = page.pixels(canvas, size).astype(int)
    # The frame of the point covers a few.
    same = np.abs(shown - look.pixels).max(-1) <= 1
    assert np.mean(same) > 0.98


def expected_map(look, block, row, column):
    """Returns the pixels of a map, from the weights of its block."""
    size = look.pixels.shape[0]
    side = block.size[0]
    query = row * side // size * side + column * side // size
    weights = block.maps[0, query]
    keys = round(len(weights) ** 0.5)
    spread = weights.reshape(keys, keys) / weights.max()
    opacity = 0.85 * np.kron(spread, np.ones([size // keys] * 2))[..., None]
    grey = look.pixels.mean(-1, keepdims=True) / 2
    return grey + opacity * (np.array(_ORANGE) - grey)


def check_nearest(shown, image, real):
    """Checks a row of real images: those nearest to one, nearest first.

    Args:
        shown: The row, `[size, ..., 3]`, uint8.
        image: `[size, size, 3]`, uint8.
        real: All real images, `[n, size, size, 3]`, uint8.
    """
    size = len(image)
    differences = real.astype(float) - image.astype(float)
    order = np.argsort(
        np.linalg.norm(differences.reshape(len(real), -1), axis=1)
    )
    found = [shown[:, i : i + size] for i in range(0, shown.shape[1], size + 2)]
    np.testing.assert_array_equal(found, real[order[: len(found)]])


def check_maps(page, look, row, column):
    size = look.pixels.shape[0]
    differences = []
    for name, block in look.blocks.items():
        canvas = page.find(f"canvas[data-block='{name}']")
        shown = page.pixels(canvas, size)
        expected = expected_map(look, block, row, column)
        wrong = np.abs(shown - expected).max(-1) > 1.01
        assert wrong.mean() < 0.02, name
        other = expected_map(look, block, size - 1 - row, size - 1 - column)
        differences.append(np.abs(other - expected).max(-1) > 1.01)
    # The maps of another point are not the same.
    assert np.mean(differences) > 0.1
