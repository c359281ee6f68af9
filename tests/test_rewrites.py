"""Each exact rewrite of a network or an update, against the plain form."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from random_weights import draw_inputs, randomize
from tiny_gan import make_batch, make_gan, reset, values

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers import fused_elementwise, kernel_gradient
from sagan.layers.batch_norm import BatchNorm
from sagan.layers.fused_elementwise import fusing
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
    state = map(tf.convert_to_tensor, network.non_trainable_variables)
    return outputs, [*state], [tf.convert_to_tensor(g) for g in gradients]


@pytest.fixture(scope="module")
def plain():
    """Weights of a plain network, and its results."""

    @functools.cache
    def make(kind, training, image_size=32, base_channels=2):
        network = build(kind, image_size, base_channels=base_channels)
        randomize(network)
        return network.get_weights(), results(network, training)

    return make


def check_equal(network, plain, training, bound=1e-4, run=results):
    weights, (expected_outputs, expected_state, expected_gradients) = plain
    network.set_weights(weights)
    outputs, state, gradients = run(network, training)
    scale = max(1.0, np.abs(expected_outputs).max())
    np.testing.assert_allclose(outputs, expected_outputs, atol=bound * scale)
    for one, other in zip(state, expected_state, strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound)
    # Small gradients are the difference of larger terms.
    scale = max(np.abs(g).max() for g in expected_gradients)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=bound, atol=bound * scale)


@pytest.mark.parametrize("kind", BUILDERS)
def test_each_rewrite_is_the_plain_network(kind, plain):
    """Values, state and every gradient; each alone, then all at once."""
    for name in SWITCHES[kind]:
        network = build(kind, on=[name])
        check_equal(network, plain(kind, True), training=True)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("kind", BUILDERS)
def test_all_at_once_go_with_every_pointwise_layer(kind, implementation, plain):
    network = build(kind, on=SWITCHES[kind], pointwise=implementation)
    check_equal(network, plain(kind, True), training=True)


@pytest.mark.parametrize("image_size", [32, 64, 128])
@pytest.mark.parametrize("kind", BUILDERS)
def test_all_at_once_are_the_plain_network_at_other_sizes(
    kind, image_size, plain
):
    """Out of training: batch norm of few channels amplifies rounding."""
    network = build(kind, image_size, SWITCHES[kind], base_channels=1)
    expected = plain(kind, False, image_size, base_channels=1)
    check_equal(network, expected, training=False)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("kind", BUILDERS)
def test_rewrites_are_the_plain_network_in_low_precision(
    kind, precision, plain
):
    """No further from the exact result than the plain network's rounding."""
    weights, (expected_outputs, _, expected) = plain(kind, False)

    def errors(on):
        network = build(kind, on=on, precision=precision)
        network.set_weights(weights)
        outputs, _, gradients = results(network, training=False)
        pairs = zip(gradients, expected, strict=True)
        return [
            float(tf.norm(one - other) / tf.norm(other))
            for one, other in ((outputs, expected_outputs), *pairs)
            if tf.norm(other) > 0
        ]

    for before, rewritten in zip(
        errors(()), errors(SWITCHES[kind]), strict=True
    ):
        assert before < 0.5
        assert rewritten < 3.0 * before + 0.02


@pytest.mark.parametrize("kind", BUILDERS)
def test_forms_for_large_networks_are_the_plain_network(
    kind, plain, monkeypatch
):
    """Those that pay at no size of a test, here at every size."""
    monkeypatch.setattr(fused_elementwise, "_FEWEST_NUMBERS", 1)
    for module in (fused_elementwise, kernel_gradient):
        monkeypatch.setattr(module, "on_cpu", lambda: True)
    monkeypatch.setattr(kernel_gradient, "pays", lambda *_: True)
    network = build(kind, on=SWITCHES[kind])
    with fusing():
        run = tf.function(results, autograph=False)
        check_equal(network, plain(kind, True), training=True, run=run)
        graph = run.get_concrete_function(network, True).graph
    types = [operation.type for operation in graph.get_operations()]
    assert "PartitionedCall" in types
    # Of pointwise layers only.
    sizes = {
        operation.outputs[0].shape[0]
        for operation in graph.get_operations()
        if operation.type == "Conv2DBackpropFilter"
    }
    assert sizes == {1}


def test_switches_reach_the_layers():
    for on, expected in ((), False), (("fused_norm",), True):
        network = build("generator", on=on)
        norms = [
            layer
            for layer in network._flatten_layers()
            if isinstance(layer, BatchNorm)
        ]
        assert [layer.fused for layer in norms] == [expected] * 7
        assert not network.blocks[0].conv1.fused
        assert not network.blocks[0].low_resolution_shortcut
    network = build("generator", on=("product_gradient",))
    convolutions = [network.conv, network.blocks[0].conv1]
    assert all(layer.product_gradient for layer in convolutions)
    assert not network.elementwise.fused
    network = build("generator", on=("fused_elementwise",))
    assert network.elementwise.fused
    assert network.blocks[0].elementwise.fused
    assert not network.blocks[0].conv1.product_gradient
    network = build("discriminator", on=("fused_resampling",))
    assert network.blocks[0].conv2.fused
    assert not network.blocks[1].pool_first


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("accumulation", [1, 2])
def test_one_call_for_real_and_fake_is_the_two_calls(accumulation):
    """From random `u`, where a second power iteration would show."""
    gan = make_gan(accumulation=accumulation)
    (images,), (labels,) = make_batch()
    latents = gan.draw_latents(4, [0, 0])
    before, found = values(gan.variables()), []
    moved = [
        *gan.discriminator.non_trainable_variables,
        *gan.d_optimizer.variables,
    ]
    for gan.joint_batch in (True, False):
        reset(gan, before)
        scalars = gan.update_discriminator(images, labels, *latents)
        found.append((scalars, values(moved)))
    (scalars, state), (expected, expected_state) = found
    for name, value in scalars.items():
        np.testing.assert_allclose(
            value, expected[name], rtol=1e-4, err_msg=name
        )
    for one, other, variable in zip(state, expected_state, moved, strict=True):
        np.testing.assert_allclose(
            one, other, rtol=1e-3, atol=1e-6, err_msg=variable.path
        )
