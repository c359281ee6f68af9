"""Images and maps of a run's checkpoints, against the networks themselves."""

import numpy as np
import pytest
from attention_reference import attend as attend_by_equations

from sagan.config import parse_config
from sagan.explorer import networks
from sagan.explorer.directions import principal_directions
from sagan.explorer.networks import Inputs, Weights
from sagan.generator import build_generator
from sagan.layers.recorder import wrapped
from sagan.runs.checkpoints import restore_generator
from sagan.runs.sample_grids import to_uint8

LATENTS = (0.3, -1.2, 0.8, 2.0, -0.4, 0.1)


@pytest.mark.parametrize("name", ["first", "grey"])
@pytest.mark.parametrize("average", ["ema", "raw"])
def test_a_look_is_the_network_at_that_checkpoint(runs, name, average):
    run = runs[name]
    classes = (0.0, 0.25, 0.75, 0.0) if run.classes else ()
    labels = np.float32([classes]) if classes else np.zeros(1, np.int32)
    parse_config([str(run.workdir / "config.gin")], recorded=True)
    generator = build_generator()
    # There and back: each time the values of the checkpoint.
    for step in (8, 4, 8):
        look = run.look(Weights(step, average), Inputs(LATENTS, classes))
        restore_generator(run.folder, generator, step, average == "ema")
        seen = []
        with wrapped(
            generator.attentions,
            "call",
            lambda layer, call, x, seen=seen, **kwargs: (
                seen.append((layer, x)) or call(x, **kwargs)
            ),
        ):
            images = generator(np.float32([LATENTS]), labels)
        expected = to_uint8(images[0].numpy()).astype(int)
        assert np.abs(look.pixels.astype(int) - expected).max() <= 1
        layer, features = next(x for x in seen if x[0].name == "attention_16")
        _, maps = attend_by_equations(layer, features)
        found = look.blocks["generator/attention_16"]
        np.testing.assert_allclose(found.maps, maps, atol=1e-5)
        assert found.size == (16, 16)


def test_both_networks_are_shown_the_same_image(runs):
    look = runs["first"].first
    assert list(look.blocks) == [
        "generator/attention_16",
        "discriminator/attention_16",
    ]
    assert list(runs["grey"].first.blocks) == ["generator/attention_16"]


def test_standing_moments_are_those_of_these_weights(runs):
    run = runs["first"]
    inputs = Inputs(LATENTS, run.one_class(1))
    moving, standing, again = (
        run.look(Weights(8, "ema", statistics), inputs).pixels.astype(int)
        for statistics in ("moving", "standing", "moving")
    )
    assert np.abs(moving - standing).max() > 10
    np.testing.assert_array_equal(moving, again)


def test_directions_are_principal_components_of_the_first_layer(runs):
    generator = runs["first"].generator
    directions, shares = principal_directions(generator)
    latents = np.random.default_rng(0).normal(size=(100_000, 6))
    outputs = generator.dense(np.float32(latents)).numpy()
    outputs = outputs.astype(np.float64) - outputs.mean(0)
    components, values, _ = np.linalg.svd(outputs.T @ outputs)
    found = np.float64(generator.dense(np.float32(directions)))
    found -= np.float64(generator.dense(np.zeros([1, 6], np.float32)))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    overlap = np.abs(np.sum(found[:3] * components.T[:3], axis=1))
    np.testing.assert_allclose(overlap, 1.0, atol=0.02)
    np.testing.assert_allclose(shares, (values / values.sum())[:6], rtol=0.05)
    np.testing.assert_allclose(directions @ directions.T, np.eye(6), atol=1e-6)


def test_no_more_is_kept_than_the_bound(monkeypatch):
    monkeypatch.setattr(networks, "_KEPT_BYTES", 20)
    recent = networks._Recent(len)
    for key, size in (("a", 8), ("b", 8), ("c", 8), ("d", 99)):
        recent.keep(key, "x" * size)
        assert recent.get(key) == "x" * size
        if key == "b":
            recent.get("a")  # Used last, so b goes first.
        if key == "c":
            assert list(recent.entries) == ["a", "c"]
    assert list(recent.entries) == ["d"]
