"""The explorer's answers, and what it refuses."""

import base64
import io
import json
import random
import threading
import urllib.parse

import numpy as np
import pytest
from PIL import Image
from werkzeug.test import Client

from sagan.explorer.listening import host_allowed
from sagan.explorer.networks import Inputs, Weights
from sagan.explorer.server import Explorer, encode_map

LATENTS = np.float32([0.3, -1.2, 0.8, 2.0, -0.4, 0.1])
VIEW = {
    "run": "0",
    "step": "8",
    "weights": "ema",
    "statistics": "moving",
    "latents": base64.urlsafe_b64encode(LATENTS.tobytes()).decode(),
    "classes": "1:0.25,2:0.75",
}
POINT = {"block": "generator/attention_16", "query": "37"}


@pytest.fixture(scope="module")
def client(runs):
    explorer = Explorer([runs["first"], runs["second"]])
    yield Client(explorer)
    explorer.close()


def get(client, path, **query):
    query = urllib.parse.urlencode(query, doseq=True)
    return client.get(f"/{path}?{query}" if query else f"/{path}")


def pixels(response):
    assert response.status_code == 200, response.text
    assert response.mimetype == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.data)))


def test_images_and_maps_are_those_of_the_run(client, runs):
    inputs = Inputs(tuple(LATENTS.tolist()), (0.0, 0.25, 0.75, 0.0))
    look = runs["first"].look(Weights(8), inputs)
    image = pixels(get(client, "image.png", **VIEW))
    np.testing.assert_array_equal(image, look.pixels)
    for name, block in look.blocks.items():
        point = POINT | {"block": name}
        found = pixels(get(client, "map.png", **VIEW, **point))
        levels = found.astype(np.int64) @ [65536, 256, 1]
        np.testing.assert_allclose(
            levels[0] / (2**24 - 1), block.maps[0, 37], atol=2**-24
        )
    numbers = get(client, "numbers.json", **VIEW).json
    assert numbers["logit"] == look.logit
    for name, block in look.blocks.items():
        assert numbers["blocks"][name] == block.statistics


def test_weights_survive_as_colours():
    weights = np.float32([0.0, 1.0, 2.0**-24, 0.123456789])
    levels = encode_map(weights)[0].astype(np.int64) @ [65536, 256, 1]
    np.testing.assert_allclose(
        levels / (2**24 - 1), weights.astype(np.float64), atol=2**-25
    )


def test_runs_are_described(client, runs):
    first, second = get(client, "runs.json").json
    assert first["classes"] == ["disc", "square", "triangle", "cross"]
    assert (first["steps"], second["steps"]) == ([4, 8], [5])
    assert [block["keys"] for block in first["blocks"]] == [8, 8]
    assert first["curves"] == [
        {"title": "Losses", "lines": {"d_loss": [[4, 0.25], [8, 0.125]]}}
    ]
    assert "build_generator.latent_dim = 6" in first["config"]


def test_page_files_are_served_with_a_policy(client):
    for path, kind in (
        ("", "text/html"),
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
    ):
        response = get(client, path)
        assert response.status_code == 200
        assert response.mimetype == kind
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    assert "http" not in get(client, "").text.split("</head>")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": "2"}, "run: expected one of 0 to 1."),
        ({"step": "5"}, "step: expected one of 4, 8."),
        ({"step": "٨"}, "step: expected one of"),
        ({"weights": "best"}, "weights: expected one of ema, raw."),
        ({"statistics": "batch"}, "statistics: expected one of"),
        ({"latents": VIEW["latents"][4:]}, "latents: expected 6 float32"),
        ({"latents": "A" * 33}, "latents: expected 6"),
        ({"latents": "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/"}, "latents: expect"),
        ({"classes": "1:0.5"}, "classes: expected CLASS:WEIGHT"),
        ({"classes": "4:1"}, "of 4 classes"),
        ({"classes": ""}, "of 4 classes"),
        ({"classes": "1:1,"}, "of 4 classes"),
        ({"step": ["4", "8"]}, "Expected each once"),
        ({"file": "/etc/passwd"}, "Expected each once"),
        ({"block": "/etc/passwd"}, "block: expected one of"),
        ({"query": "256"}, "query: expected one of 0 to 255."),
        ({"query": "-1"}, "query: expected one of"),
    ],
)
def test_a_wrong_value_is_one_line(client, change, message):
    point = POINT if change.keys() & POINT else {}
    path = "map.png" if point else "image.png"
    response = get(client, path, **VIEW | point | change)
    assert response.status_code == 400
    assert message in response.text
    assert "\n" not in response.text


def test_random_queries_never_fail(client):
    rng = random.Random(0)
    names = [*VIEW, *POINT, "x"]
    values = [
        *VIEW.values(),
        *POINT.values(),
        "",
        "-1",
        "1e9",
        "nan",
        "\0",
        "é",
    ]
    values += ["9" * 5000, "../" * 9, "A" * 4000, "1:nan", "1:1e400", "1:1:1"]
    for _ in range(1000):
        path = rng.choice(
            ["image.png", "map.png", "numbers.json", "nearest.json"]
        )
        # Nearly right, so that every check is reached.
        pairs = list((VIEW | (POINT if path == "map.png" else {})).items())
        for _ in range(rng.randint(1, 3)):
            pair = rng.choice(names), rng.choice(values)
            pairs[rng.randrange(len(pairs))] = pair
        query = urllib.parse.urlencode(pairs)
        if rng.random() < 0.3:
            raw = bytes(rng.randrange(33, 127) for _ in range(40))
            query += raw.decode().replace("#", "%")
        response = client.get(f"/{path}?{query}")
        assert response.status_code in (200, 400), (path, query)
        assert "Traceback" not in response.get_data(as_text=True)


def test_other_paths_and_methods_do_not_exist(client):
    for path in ("x", "..%2f..%2fetc/passwd", "page.html", "networks.py"):
        assert get(client, path).status_code == 404
    assert client.post("/image.png", data=b"x" * 100).status_code == 405
    assert get(client, "runs.json", run="0").status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "127.0.0.1:6007"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "[::1]:6007"}, 200),
        ({"Host": "[::1]"}, 200),
        ({"Host": "[::1"}, 403),
        ({"Host": "attacker.example:6007"}, 403),
        ({"Host": "192.168.0.3:6007"}, 403),
        ({"Host": "localhost", "Origin": "http://attacker.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_pages_of_other_sites_are_refused(client, headers, status):
    response = client.get("/page.css", headers=headers)
    assert response.status_code == status, response.text


def test_a_link_elsewhere_leads_to_the_page_alone(client):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/runs.json", headers=headers).status_code == 403


def test_other_hosts_are_allowed_only_where_it_was_told_to_serve():
    assert host_allowed("192.168.0.3", "0.0.0.0")
    assert host_allowed("gpu7", "gpu7")
    assert not host_allowed("attacker.example", "0.0.0.0")
    assert not host_allowed("192.168.0.3", "127.0.0.1")


def test_runs_that_cannot_share_latents_are_named(runs):
    with pytest.raises(ValueError, match="first and .*grey .*num_classes is 4"):
        Explorer([runs["first"], runs["grey"]])


def test_it_answers_while_an_image_is_made(client, runs):
    """And refuses what would wait in too long a queue."""
    run = runs["first"]
    answers = []

    def ask():
        answers.append(get(client, "image.png", **VIEW).status_code)

    with run._lock:  # As while an image is made.
        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads[:4]:
            thread.join(0.2)
        assert get(client, "page.js").status_code == 200
        assert answers == [503] * 4
    for thread in threads:
        thread.join()
    assert answers == [503] * 4 + [200] * 16


def test_a_damaged_checkpoint_is_one_line(client, runs, tmp_path):
    run = runs["second"]
    index = run.folder / "step_00000005/checkpoint.index"
    view = VIEW | {"run": "1", "step": "5", "weights": "raw"}
    index.rename(tmp_path / "index")
    response = get(client, "image.png", **view)
    (tmp_path / "index").rename(index)
    assert response.status_code == 500
    assert "is damaged" in response.text
    assert get(client, "image.png", **view).status_code == 200


def test_json_has_no_values_that_browsers_cannot_read(client):
    def refuse(text):
        raise AssertionError(text)

    text = get(client, "runs.json").text
    assert json.loads(text, parse_constant=refuse)
