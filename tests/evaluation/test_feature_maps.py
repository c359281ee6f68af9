"""Feature maps of layers: what is recorded, and how it is drawn."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from random_weights import draw_inputs, randomize
from tiny_gan import make_gan, make_generator

from sagan.evaluation.feature_maps import feature_maps, picture_of_layer
from sagan.runs.feature_pictures import (
    channel_energies,
    colour,
    draw_channels,
)
from sagan.runs.record import parse_recorded_config

OLD_RUN = pathlib.Path(__file__).parents[1] / "runs/old_run"


@pytest.fixture(scope="module")
def gan():
    gan = make_gan(fused_fgh=True)
    for network in (gan.generator, gan.discriminator):
        randomize(network)
    return gan


@pytest.mark.parametrize(
    ("network", "name", "shapes"),
    [
        ("generator", "blocks[1].shortcut", ((8, 8, 8), (8, 8, 8))),
        ("generator", "blocks[1]", ((8, 8, 8), (16, 16, 8))),
        ("generator", "attentions[2].v", ((16, 16, 4), (16, 16, 8))),
        ("discriminator", "blocks[0].conv1", ((32, 32, 3), (32, 32, 4))),
    ],
)
def test_what_a_layer_makes_of_its_input(gan, network, name, shapes):
    network = getattr(gan, network)
    inputs, labels = draw_inputs(network)
    before, after, returned = feature_maps(network, name, inputs, labels)
    assert (before.shape[1:], after.shape[1:]) == shapes
    np.testing.assert_array_equal(returned, network(inputs, labels))
    if name.endswith((".shortcut", ".v")):
        # A matrix at every position, by hand.
        block, _, inner = name.partition("].")
        kind, _, i = block.partition("[")
        layer = getattr(getattr(network, kind)[int(i)], inner)
        expected = before @ layer.effective_kernel().numpy()[0, 0]
        if layer.use_bias:
            expected += layer.bias.numpy()
        np.testing.assert_allclose(after, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("blocks[1].conv3", "Did you mean 'blocks[1].conv[12]'.*shortcut"),
        ("", "Unknown layer ''"),
        ("dense", "dense of the generator maps .*expected .*height, width"),
        ("attentions[2].f", "build_generator.fused_fgh = False"),
    ],
)
def test_a_layer_without_maps_is_refused(gan, name, words):
    with pytest.raises(ValueError, match=words.replace("[1]", r"\[1\]")):
        feature_maps(gan.generator, name, *draw_inputs(gan.generator))


def test_strong_channels_come_first_and_signs_have_colours():
    maps = np.zeros((2, 4, 4, 3))
    maps[..., 0], maps[0, ..., 2] = -1.0, 2.0
    shares = channel_energies(maps)
    np.testing.assert_allclose(shares, [1 / 3, 0.0, 2 / 3])
    np.testing.assert_array_equal(channel_energies(0 * maps), [0, 0, 0])
    images = np.zeros((2, 8, 8, 1))
    picture = draw_channels("Output", images, maps, 8)
    # Image, channel 2, channel 0; channel 2 is zero in the second image.
    cell = 68
    row, columns = 28 + 32, [32 + cell * i for i in range(4)]
    red, blue, white = colour(np.array([[1.0, -1.0, 0.0]]))[0]
    assert (white == 255).all()
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    for top, expected in ((row, red), (row + cell, white)):
        np.testing.assert_array_equal(picture[top, columns[1]], expected)
        np.testing.assert_array_equal(picture[top, columns[2]], blue)
        np.testing.assert_array_equal(picture[top, columns[3]], white)
        assert (picture[top, columns[0]] == 128).all()
    fewer = draw_channels("Output", images, maps, 1)
    assert fewer.shape[0] == picture.shape[0]


def test_maps_in_low_precision_are_drawn_as_float32():
    generator = make_generator(precision="mixed_bfloat16")
    inputs = draw_inputs(generator)
    before, after, _ = feature_maps(generator, "conv", *inputs)
    assert before.dtype == after.dtype == np.float32
    assert after.shape == (2, 32, 32, 3)
    assert tf.reduce_all(tf.math.is_finite(after))


def test_a_layer_of_either_network_of_a_run_becomes_a_picture(tmp_path):
    parse_recorded_config(OLD_RUN)
    settings = {
        "workdir": OLD_RUN,
        "num_images": 3,
        "num_channels": 2,
        "classes": ["3"],
        "seed": 0,
        "step": "last",
        "ema": True,
    }
    generated, judged = (
        picture_of_layer(network=name, layer="blocks[0].conv1", **settings)
        for name in ("generator", "discriminator")
    )
    # Two headed tables of three rows, gaps below; titles may be wider.
    assert generated.shape[0] == judged.shape[0] == 2 * (28 + 3 * 68 + 4)
    assert generated.shape[1] >= 3 * 68
    # A given image is all that the discriminator sees then.
    photo = np.random.default_rng(0).integers(0, 256, [32, 48, 3], np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    given = {"layer": "blocks[0].conv1", "image": tmp_path / "photo.png"}
    one = picture_of_layer(network="discriminator", **settings | given)
    assert one.shape[0] == 2 * (28 + 68 + 4)
    shown = one[28 : 28 + 64 : 2, :64:2]
    np.testing.assert_array_equal(shown, photo[:, 8:40])
    with pytest.raises(ValueError, match="give --network=discriminator"):
        picture_of_layer(network="generator", **settings | given)
    (tmp_path / "photo.png").write_text("no image")
    message = r"--image=.*photo\.png cannot be read as an image \(no image of"
    with pytest.raises(ValueError, match=message):
        picture_of_layer(network="discriminator", **settings | given)
    # The same images; the discriminator's input channels are theirs.
    left = slice(28, 28 + 64), slice(0, 64)
    np.testing.assert_array_equal(generated[left], judged[left])
