"""Every kind of block against plain functions in float64."""

from functools import partial
from typing import get_args

import numpy as np
import pytest
import reference_blocks as reference
import tensorflow as tf
from random_weights import randomize

from sagan.layers.batch_norm import BatchNorm
from sagan.layers.block_kinds import BlockName, block_recipe
from sagan.layers.blocks import DiscriminatorBlock, GeneratorBlock
from sagan.layers.inception import Inception
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise
from sagan.layers.precision import dtype_policy

KINDS = get_args(BlockName)
FILTERS = 8
LABELS = tf.constant([0, 2])
# The second gradients of the fused kernel are off by some percent.
NORM = partial(BatchNorm, num_classes=3, fused=False)
# Of each place in the networks: the block's own settings, and those of the
# reference.
PLACES = {
    "generator": ({"norm": NORM}, {"labels": LABELS, "resample": "up"}),
    "discriminator": ({"down": True}, {"resample": "down"}),
    "images": (
        {"down": True, "first": True},
        {"resample": "down", "first": True},
    ),
    "flat": ({"down": False}, {}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_place = pytest.mark.parametrize("place", PLACES)


def make_block(
    kind,
    place,
    recalibrate=False,
    fused=True,
    spectral_norm=False,
    implementation="conv2d",
):
    """Returns a block with random weights, and its inputs."""
    recipe = block_recipe(
        GeneratorBlock if place == "generator" else DiscriminatorBlock,
        kind,
        recalibrate,
        partial(
            Pointwise,
            implementation=implementation,
            spectral_norm=spectral_norm,
        ),
        {"spectral_norm": spectral_norm},
        fused,
        **PLACES[place][0],
    )
    block = recipe(FILTERS)
    shape = (2, 4, 6, 3 if place == "images" else FILTERS)
    inputs = tf.random.stateless_normal(shape, [5, len(place)])
    call_block(block, inputs)
    randomize(block)
    return block, inputs


def call_block(block, inputs, training=False):
    labels = [LABELS] if isinstance(block, GeneratorBlock) else []
    return block(inputs, *labels, training=training)


def results(function, block, inputs):
    """Outputs, and the gradients of a fixed random sum of them.

    Then those of the sum of its squared gradients, a penalty such as R1.
    """
    sources = [inputs, *(v.value for v in block.trainable_variables)]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
            direction = tf.random.stateless_normal(outputs.shape, [3, 4])
            total = tf.reduce_sum(outputs * tf.cast(direction, outputs.dtype))
        gradients = tape.gradient(total, sources)
        penalty = tf.reduce_sum(tf.square(gradients[0]))
    second = outer.gradient(penalty, sources, unconnected_gradients="zero")
    return [tf.convert_to_tensor(t) for t in (outputs, *gradients, *second)]


def check_equal(block, found, expected, bound=1e-4):
    """Compares `results`, each relative to the largest of its order."""
    names = ["inputs", *(v.path for v in block.trainable_variables)]
    first = slice(1, 1 + len(names))
    second = slice(1 + len(names), None)
    np.testing.assert_allclose(found[0], expected[0], rtol=bound, atol=bound)
    for part in (first, second):
        scale = max(float(tf.reduce_max(tf.abs(g))) for g in expected[part])
        for name, one, other in zip(
            names, found[part], expected[part], strict=True
        ):
            np.testing.assert_allclose(
                *(one, other), rtol=10 * bound, atol=bound * scale, err_msg=name
            )


def biases_before_norms(block):
    path = block.main_path
    if path is None:
        return [block.conv1.bias]
    if isinstance(path, Inception):
        return [path.three.stages[0].bias, path.five.stages[0].bias]
    return [stage.bias for stage in path.stages[:-1]]


@each_place
@each_kind
def test_outputs_and_gradients_are_those_of_float64(kind, place):
    block, inputs = make_block(kind, place, place != "images")
    exact = partial(reference.block, block, **PLACES[place][1])
    found = results(partial(call_block, block, training=True), block, inputs)
    expected = results(
        lambda inputs: exact(tf.cast(inputs, tf.float64)), block, inputs
    )
    if place == "generator":
        # Batch norm cancels these biases: by algebra and by finite differences
        # their derivatives of any order are zero. Those of second order that
        # TensorFlow derives from the moments are not.
        before_norm = {id(v) for v in biases_before_norms(block)}
        assert before_norm
        second = expected[-len(block.trainable_variables) :]
        for i, variable in enumerate(block.trainable_variables, -len(second)):
            if id(variable) in before_norm:
                expected[i] = tf.zeros_like(expected[i])
    check_equal(block, found, expected)


@each_kind
@pytest.mark.parametrize("place", ["generator", "discriminator"])
def test_resampling_merged_or_not_is_the_same_function(kind, place):
    """With spectral norm, which is that of the plain kernels."""
    block, inputs = make_block(kind, place, spectral_norm=True)
    plain, _ = make_block(kind, place, spectral_norm=True, fused=False)
    plain.set_weights(block.get_weights())
    found, expected = (
        results(partial(call_block, one, training=True), one, inputs)
        for one in (block, plain)
    )
    check_equal(block, found, expected)


@each_kind
@pytest.mark.parametrize("place", ["generator", "discriminator"])
def test_batch_and_sizes_may_be_unknown(kind, place):
    block, inputs = make_block(kind, place, recalibrate=True)
    call = tf.function(
        partial(call_block, block),
        input_signature=[tf.TensorSpec([None, None, None, FILTERS])],
    )
    expected = call_block(block, inputs)
    np.testing.assert_allclose(call(inputs), expected, atol=1e-4)


@each_kind
def test_all_have_the_fast_relu_and_skip_biases(kind):
    with dtype_policy("mixed_bfloat16"):
        block, inputs = make_block(kind, "generator")
    function = tf.function(call_block).get_concrete_function(
        block, tf.cast(inputs, tf.bfloat16), training=True
    )
    types = {op.type for op in function.graph.get_operations()}
    assert tf.config.list_physical_devices("GPU") or "Relu" not in types
    expected = call_block(block, inputs, training=True)
    for bias in biases_before_norms(block):
        bias.assign(bias + 1e4)
    outputs = call_block(block, inputs, training=True)
    np.testing.assert_array_equal(outputs, expected)


def test_every_pointwise_implementation_computes_the_same():
    expected, inputs = make_block("inception", "images", recalibrate=True)
    for name in IMPLEMENTATIONS:
        block, _ = make_block("inception", "images", True, implementation=name)
        block.set_weights(expected.get_weights())
        np.testing.assert_allclose(
            *(call_block(one, inputs) for one in (block, expected)),
            atol=1e-4,
            err_msg=name,
        )


def test_an_inception_block_needs_a_filter_for_each_path():
    recipe = block_recipe(
        DiscriminatorBlock, "inception", False, Pointwise, {}, True
    )
    with pytest.raises(ValueError, match="3 filters.*at least 4.*base_channel"):
        recipe(3)


@pytest.mark.parametrize("filters", [4, 5, 7, 12, 33, 64])
def test_the_paths_of_inception_add_up(filters):
    recipe = block_recipe(
        DiscriminatorBlock, "inception", False, Pointwise, {}, True
    )
    outputs = recipe(filters, down=False)(tf.zeros([1, 4, 4, 3]))
    assert outputs.shape == (1, 4, 4, filters)
