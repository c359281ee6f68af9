"""Attention maps of a run against the equations, and their pictures."""

import csv
import json
import pathlib

import gin
import numpy as np
import pytest
import tensorflow as tf
from attention_reference import attend as attend_by_equations
from PIL import Image
from random_weights import draw_inputs, randomize
from tiny_gan import make_generator

from sagan.discriminator import build_discriminator
from sagan.evaluation.attention import BlockMaps, Looks, attend, look
from sagan.evaluation.attention_report import (
    draw,
    picture_of_run,
    write_numbers,
)
from sagan.layers.recorder import call_with_attention, wrapped
from sagan.runs.record import parse_recorded_config

OLD_RUN = pathlib.Path(__file__).parents[1] / "runs/old_run"
NO_ATTENTION = {"attention": "residual"}


def _inputs_of(network, inputs, labels):
    """Runs a network; returns its attention block and what that got."""
    seen = []

    def keep(layer, call, features, **kwargs):
        seen.append((layer, features))
        return call(features, **kwargs)

    with wrapped(network.attentions, "call", keep):
        network(inputs, labels)
    return next(pair for pair in seen if pair[0].name == "attention_16")


@pytest.mark.parametrize(
    ("attention", "precision", "query_block"),
    [
        ("released", "float32", None),
        ("released", "mixed_bfloat16", 100),
        ("paper", "mixed_float16", None),
        ("paper", "float32", 100),
    ],
)
@pytest.mark.parametrize("build", [make_generator, build_discriminator])
def test_recorded_maps_equal_the_equations(
    build, attention, precision, query_block
):
    settings = {"num_classes": 3, "image_size": 32, "base_channels": 2}
    network = build(
        attention=attention,
        attention_resolutions=(16,),
        precision=precision,
        query_block=query_block,
        **settings,
    )
    randomize(network)
    inputs, labels = draw_inputs(network)
    outputs, attended = call_with_attention(network, inputs, labels)
    np.testing.assert_array_equal(outputs, network(inputs, labels))
    (found,) = attended.values()
    block, features = _inputs_of(network, inputs, labels)
    expected, maps = attend_by_equations(block, features)
    tolerance = 1e-5 if precision == "float32" else 0.05
    np.testing.assert_allclose(found.map, maps, atol=tolerance * maps.max())
    np.testing.assert_allclose(tf.reduce_sum(found.map, -1), 1.0, atol=1e-5)
    features = np.float64(features).reshape(2, -1)
    added = expected.reshape(2, -1) - features
    change = np.linalg.norm(added, axis=1) / np.linalg.norm(features, axis=1)
    np.testing.assert_allclose(found.change, change, rtol=10 * tolerance)


def test_maps_do_not_depend_on_the_batch():
    generator = make_generator()
    randomize(generator)
    latents, labels = draw_inputs(generator, 19)
    images, (block,) = attend(generator, latents, labels)
    assert images.shape == (19, 32, 32, 3)
    _, (alone,) = attend(generator, latents[17:], labels[17:])
    np.testing.assert_allclose(block.maps[17:], alone.maps, atol=1e-6)
    assert block.name == "generator/attention_16"
    assert block.position(31, 5) == (15, 2)


def test_networks_without_attention_have_nothing_to_show():
    generator = make_generator(**NO_ATTENTION)
    discriminator = build_discriminator(
        32, base_channels=2, num_classes=3, attention_resolutions=()
    )
    inputs = draw_inputs(generator)
    with pytest.raises(ValueError, match="Neither network .* self-attention"):
        look(generator, discriminator, 1, inputs)
    attentive = make_generator()
    (part,) = look(attentive, discriminator, 1, inputs).parts
    assert [block.name for block in part[2]] == ["generator/attention_16"]


def test_another_checkpoint_may_choose_the_queries():
    """So that a map can be followed over the steps."""
    maps = np.full([2, 1, 256, 64], 1 / 64)
    for i, query in enumerate((37, 200)):  # Which differs from all others.
        maps[i, 0, query] = np.eye(64)[5]
    images = np.zeros([1, 32, 32, 3])
    early, late = (
        Looks(
            step,
            [("generated", images, [BlockMaps("b", x, (16, 16), 2, 1.0, 1.0)])],
        )
        for step, x in enumerate(maps)
    )
    points = {37: (4, 10), 200: (24, 16)}
    # Everything below the title, which says the numbers of the maps.
    follow = draw(early, num_queries=1, chooser=late)[20:]
    np.testing.assert_array_equal(follow, draw(early, [points[200]])[20:])
    own = draw(early, num_queries=1)[20:]
    np.testing.assert_array_equal(own, draw(early, [points[37]])[20:])
    assert np.any(own != follow)


def test_a_run_becomes_a_picture_and_numbers(tmp_path):
    parse_recorded_config(OLD_RUN)
    settings = {
        "workdir": OLD_RUN,
        "data_dir": None,
        "num_images": 2,
        "classes": ["3"],
        "seed": 0,
        "step": "all",
        "ema": True,
        "real": True,
        "query": ["0,0", "31, 16"],
        "num_queries": 4,
        "smooth": False,
    }
    pixels, rows = picture_of_run(**settings)
    assert [(row["images"], row["block"]) for row in rows] == [
        ("generated", "generator/attention_16"),
        ("generated", "discriminator/attention_16"),
        ("real", "discriminator/attention_16"),
    ] * (len(rows) // 3)
    assert Image.fromarray(pixels).size[0] >= 3 * 128
    out = tmp_path / "maps.png"
    write_numbers(out, rows, query=settings["query"])
    with open(tmp_path / "maps.csv", newline="") as file:
        table = list(csv.DictReader(file))
    saved = json.loads((tmp_path / "maps.json").read_text())
    assert saved["blocks"] == rows
    assert float(table[1]["entropy"]) == rows[1]["entropy"]
    for text in ("3", "32,0", "1,-1", "a,b"):
        with pytest.raises(ValueError, match=f"--query is '{text}'.* 0 to 31"):
            picture_of_run(**settings | {"query": [text]})
    gin.clear_config()
