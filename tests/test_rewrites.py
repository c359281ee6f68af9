"""Each exact rewrite of a network or an update, against the plain form."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from random_weights import draw_inputs, randomize
from tiny_gan import make_batch, make_gan

from sagan.discriminator import build_discriminator
from sagan.generator import GENERATOR_WIDTHS, build_generator
from sagan.layers.batch_norm import BatchNorm
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling.step import REWRITES

BUILDERS = {"generator": build_generator, "discriminator": build_discriminator}
SWITCHES = {
    kind: tuple(
        name
        for name, functions in REWRITES.items()
        if f"build_{kind}" in functions
    )
    for kind in BUILDERS
}


def build(kind, image_size=32, on=(), **settings):
    """A small network of three classes with the switches `on`, others off."""
    switches = {name: name in on for name in SWITCHES[kind]}
    settings = {
        "base_channels": 2,
        "num_classes": 3,
        "attention_resolutions": (16,),
    } | settings
    return BUILDERS[kind](image_size, **switches, **settings)


def results(network, training):
    """Outputs, state afterwards, and all gradients of a fixed random sum."""
    inputs, labels = draw_inputs(network)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = network(inputs, labels, training=training)
    direction = tf.random.stateless_normal(outputs.shape, [3, 4])
    sources = (inputs, network.trainable_variables)
    gradients = tf.nest.flatten(tape.gradient(outputs, sources, direction))
    state = [variable.numpy() for variable in network.non_trainable_variables]
    return outputs, state, [tf.convert_to_tensor(g) for g in gradients]


def check_equal(network, weights, expected, bound, training):
    network.set_weights(weights)
    outputs, state, gradients = results(network, training)
    expected_outputs, expected_state, expected_gradients = expected
    scale = max(1.0, np.abs(expected_outputs).max())
    np.testing.assert_allclose(outputs, expected_outputs, atol=bound * scale)
    for one, other in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound)
    # Small gradients are the difference of larger terms.
    scale = max(np.abs(g).max() for g in expected_gradients)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", BUILDERS)
def test_each_rewrite_is_the_plain_network(kind, training):
    """Values, state and every gradient, each switch alone and all at once."""
    plain = build(kind)
    randomize(plain)
    weights = plain.get_weights()
    expected = results(plain, training)
    for on in [(name,) for name in SWITCHES[kind]] + [SWITCHES[kind]]:
        check_equal(build(kind, on=on), weights, expected, 1e-4, training)


@pytest.mark.parametrize("image_size", sorted(GENERATOR_WIDTHS))
@pytest.mark.parametrize("kind", BUILDERS)
def test_rewrites_are_the_plain_network_at_every_size(kind, image_size):
    """Out of training: batch norm of few channels amplifies rounding."""
    plain = build(kind, image_size, base_channels=1)
    randomize(plain)
    expected = results(plain, training=False)
    network = build(kind, image_size, SWITCHES[kind], base_channels=1)
    check_equal(network, plain.get_weights(), expected, 1e-4, training=False)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_rewrites_are_the_plain_network_in_low_precision(kind, precision):
    """No further from the exact result than the plain network's rounding."""
    exact = build(kind)
    randomize(exact)
    weights = exact.get_weights()
    expected = results(exact, training=False)

    def errors(on):
        network = build(kind, on=on, precision=precision)
        network.set_weights(weights)
        outputs, _, gradients = results(network, training=False)
        pairs = zip(gradients, expected[2], strict=True)
        return [
            float(tf.norm(one - other) / tf.norm(other))
            for one, other in ((outputs, expected[0]), *pairs)
            if tf.norm(other) > 0
        ]

    for plain, rewritten in zip(
        errors(()), errors(SWITCHES[kind]), strict=True
    ):
        assert plain < 0.5
        assert rewritten < 3.0 * plain + 0.02


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", BUILDERS)
def test_rewrites_go_with_every_pointwise_layer(kind, implementation):
    plain = build(kind)
    randomize(plain)
    weights = plain.get_weights()
    expected = results(plain, training=True)
    network = build(kind, on=SWITCHES[kind], pointwise=implementation)
    check_equal(network, weights, expected, 1e-4, training=True)


def test_switches_reach_the_layers():
    plain, fused = (build("generator", on=on) for on in ((), ("fused_norm",)))
    for network, expected in ((plain, False), (fused, True)):
        norms = [
            layer
            for layer in network._flatten_layers()
            if isinstance(layer, BatchNorm)
        ]
        assert len(norms) == 7
        assert {layer.fused for layer in norms} == {expected}
        assert not network.blocks[0].conv1.fused
        assert not network.blocks[0].low_resolution_shortcut
    network = build("discriminator", on=("fused_resampling",))
    assert network.blocks[0].conv2.fused
    assert not network.blocks[1].pool_first


@pytest.mark.parametrize("accumulation", [1, 2])
def test_one_call_for_real_and_fake_is_the_two_calls(accumulation):
    """From random `u`, where a second power iteration would show."""
    joint, apart = (
        make_gan(joint_batch=joint, accumulation=accumulation)
        for joint in (True, False)
    )
    images, labels = make_batch(batch=4)
    latents = joint.draw_latents(4, [0, 0])
    scalars, expected = (
        gan.update_discriminator(images[0], labels[0], *latents)
        for gan in (joint, apart)
    )
    for name, value in scalars.items():
        np.testing.assert_allclose(
            value, expected[name], rtol=1e-4, err_msg=name
        )
    for one, other in zip(
        itertools.chain(
            joint.discriminator.non_trainable_variables,
            joint.d_optimizer.variables,
        ),
        itertools.chain(
            apart.discriminator.non_trainable_variables,
            apart.d_optimizer.variables,
        ),
        strict=True,
    ):
        np.testing.assert_allclose(
            one.numpy(), other.numpy(), rtol=1e-3, atol=1e-6, err_msg=one.path
        )
