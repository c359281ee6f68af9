"""The generator of a run as a function: what it takes, returns and keeps."""

import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_weights import randomize
from tiny_gan import make_generator

from sagan.evaluation.samples import restored_generator, use_standing_moments
from sagan.exporting.export import export_run
from sagan.exporting.generators import generator_program, open_generator
from sagan.exporting.program import Options
from sagan.latents import generate
from sagan.layers.attention import ResidualControl
from sagan.layers.spectral_norm import kernel_layers
from sagan.runs.checkpoints import restore_generator
from sagan.runs.record import parse_recorded_config
from sagan.runs.sample_grids import to_uint8

OLD_RUN = pathlib.Path(__file__).parents[1] / "runs" / "old_run"

pytestmark = pytest.mark.usefixtures("run_eagerly")


@pytest.fixture(scope="module")
def built():
    return make_generator()


@pytest.fixture
def network(built):
    """Returns a network whose spectral norm no other test has folded."""
    randomize(built)
    for layer in kernel_layers(built):
        layer.spectral_norm = True
    return built


def call(program, **inputs):
    outputs = program.compute(**{k: tf.constant(v) for k, v in inputs.items()})
    return {name: value.numpy() for name, value in outputs.items()}


def test_images_are_those_of_the_checkpoint(network):
    latents = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    labels = np.array([2, 0, 1, 1, 2], np.int32)
    images = generate(network, latents, labels)
    program = generator_program(network, Options(), None, {})
    assert not any(layer.spectral_norm for layer in kernel_layers(network))
    outputs = call(program, latents=latents, labels=labels)
    np.testing.assert_allclose(outputs["images"], images, atol=1e-5)
    assert outputs.keys() == {"images"}
    # Eight latents of each class, whose images are the checkpoint's.
    assert program.examples["labels"].tolist() == [0] * 8 + [1] * 8 + [2] * 8
    outputs = call(program, **program.examples)
    np.testing.assert_allclose(
        program.expected["images"], outputs["images"], atol=1e-5
    )
    others = program.calibration["latents"]
    assert len(others) == 128
    assert not np.any(others[:24] == program.examples["latents"])
    assert np.bincount(program.calibration["labels"]).min() >= 40


def test_one_class_takes_no_labels(network):
    latents = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    images = generate(network, latents, np.full(3, 2, np.int32))
    program = generator_program(network, Options(label="2"), 2, {})
    assert program.examples.keys() == {"latents"}
    assert len(program.examples["latents"]) == 8
    outputs = call(program, latents=latents)
    np.testing.assert_allclose(outputs["images"], images, atol=1e-5)


def test_pixels_are_rounded_as_those_of_a_png(network):
    latents = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    labels = np.zeros(4, np.int32)
    images = generate(network, latents, labels)
    program = generator_program(network, Options(pixels="uint8"), None, {})
    assert program.expected["images"].dtype == np.uint8
    found = call(program, latents=latents, labels=labels)["images"]
    assert found.dtype == np.uint8
    # A value half-way between two levels may go either way.
    differences = np.abs(found.astype(int) - to_uint8(images))
    assert differences.max() <= 1
    assert differences.mean() < 1e-3


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_maps_are_those_of_the_block(variant):
    network = make_generator(attention=variant, query_block=0)
    randomize(network)
    seen = []
    (block,) = (x for x in network.attentions if hasattr(x, "gamma"))
    original = block.call

    def record(features, **kwargs):
        seen.append(block.attention_map(features).numpy())
        return original(features, **kwargs)

    block.call = record
    program = generator_program(network, Options(attention=True), None, {})
    keys = 64 if variant == "released" else 256
    maps = program.expected["attention_16"]
    assert maps.shape == (24, 256, keys)
    np.testing.assert_allclose(maps.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(maps, seen[0][:24], atol=1e-6)
    description = program.describe(program.expected)["attention_16"]
    assert description["shape"] == ["any", 256, keys]
    assert f"{keys} keys for each of 256 queries" in description["values"]


def test_a_network_without_maps_says_so():
    network = types.SimpleNamespace(
        attentions=(keras.layers.Identity(), ResidualControl())
    )
    with pytest.raises(ValueError, match="without --attention"):
        generator_program(network, Options(attention=True), None, {})


def test_an_unconditional_generator_takes_latents_alone():
    network = make_generator(num_classes=0, channels=1)
    randomize(network)
    program = generator_program(network, Options(), None, {})
    assert program.examples.keys() == {"latents"}
    assert program.expected["images"].shape == (8, 32, 32, 1)


def test_many_classes_have_fewer_examples_each():
    network = make_generator(num_classes=100)
    program = generator_program(network, Options(), None, {})
    counts = np.bincount(program.examples["labels"], minlength=100)
    assert counts.tolist() == [2] * 100


def test_the_run_is_restored_as_it_is_sampled():
    """In float32, whatever it computed in, and with the same weights."""
    parse_recorded_config(OLD_RUN)
    generator, _, step = restored_generator(OLD_RUN, mode="eager")
    program = open_generator(
        OLD_RUN,
        ["PRECISION = 'mixed_bfloat16'", "build_generator.query_block = 3"],
        Options(attention=True),
    )
    images = generate(generator, *program.examples.values())
    np.testing.assert_allclose(program.expected["images"], images, atol=1e-5)
    assert program.record["step"] == step == 4
    assert program.record["weights"] == "ema"
    # The config is that of training, and what overrides it is beside it.
    config = (OLD_RUN / "config.gin").read_text()
    assert program.record["config"] == config
    assert "query_block = 0" not in config
    assert program.record["bindings"][1] == "build_generator.query_block = 3"

    raw = open_generator(OLD_RUN, [], Options(ema=False, statistics="standing"))
    assert raw.record["weights"] == "raw"
    restore_generator(OLD_RUN / "checkpoints", generator, ema=False)
    for statistics in ("moving", "standing"):
        if statistics == "standing":
            use_standing_moments(generator, seed=0)
        found = generate(generator, *raw.examples.values())
        same = np.abs(found - raw.expected["images"]).max() < 1e-4
        assert same == (statistics == "standing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(step="7"), "expected last, best or one of 4"),
        (Options(step="all"), "expected last, best or one of 4"),
        (Options(label="dog"), "has no class 'dog'"),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        export_run(
            *(OLD_RUN, [], None, "savedmodel", tmp_path / "model", options)
        )
    assert list(tmp_path.iterdir()) == []
