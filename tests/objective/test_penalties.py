"""What is added to the loss, against float64 and finite differences."""

import functools

import numpy as np
import pytest
import reference_networks
import tensorflow as tf
from random_weights import randomize
from tiny_gan import SETTINGS

from sagan.discriminator import build_discriminator
from sagan.layers.precision import in_float32
from sagan.objective.penalties import (
    consistency,
    gradient_penalty,
    lecam,
    orthogonality,
)

BATCH = 3
LABELS = tf.constant([0, 2, 1])
CASES = {
    "default": {},
    "query_blocks": {"query_block": 48},
    "recompute": {"recompute": True},
    "separate": {"fused_resampling": False, "low_resolution_shortcut": False},
    "mixed_bfloat16": {"precision": "mixed_bfloat16"},
    "mixed_float16": {"precision": "mixed_float16"},
    "recompute_bfloat16": {"recompute": True, "precision": "mixed_bfloat16"},
}


@functools.cache
def images():
    return np.random.default_rng(0).uniform(-1, 1, (BATCH, 32, 32, 3))


def build(**settings):
    network = build_discriminator(**SETTINGS | settings)
    randomize(network)
    return network


def penalty_and_gradients(network):
    """Returns the penalty, and its gradients by the weights."""

    def critic(images):
        return network(images, LABELS, training=False)

    with tf.GradientTape() as tape, in_float32(network):
        value = gradient_penalty(critic, tf.constant(images(), tf.float32))
    return value, tape.gradient(value, network.trainable_variables)


class Exact:
    """The discriminator in float64, with plain functions.

    Args:
        network: The one whose weights are taken; of a normalised kernel, the
            singular vectors are constants.
    """

    def __init__(self, network):
        self.network = network
        self.weights = [
            tf.constant(v.numpy(), tf.float64)
            for v in network.trainable_variables
        ]
        self.vectors = {}
        for layer in network._flatten_layers():
            if hasattr(layer, "u"):
                matrix = np.float64(layer.kernel).reshape(-1, layer.filters)
                v = np.float64(layer.u) @ matrix.T
                v /= np.linalg.norm(v)
                u = v @ matrix
                self.vectors[id(layer.kernel)] = v, u / np.linalg.norm(u)

    def penalty(self, weights, monkeypatch):
        by_id = {
            id(variable): weight
            for variable, weight in zip(
                self.network.trainable_variables, weights, strict=True
            )
        }

        def exact(variable):
            weight = by_id[id(variable)]
            if id(variable) not in self.vectors:
                return weight
            v, u = self.vectors[id(variable)]
            matrix = tf.reshape(weight, [-1, weight.shape[-1]])
            return weight / tf.reduce_sum(v @ matrix * u)

        monkeypatch.setattr(reference_networks, "_exact", exact)
        with tf.GradientTape() as tape:
            inputs = tf.constant(images())
            tape.watch(inputs)
            logits = reference_networks.discriminate(
                self.network, inputs, LABELS, halvings=2
            )
        gradients = tape.gradient(logits, inputs)
        return tf.reduce_sum(tf.square(gradients)) / BATCH


@pytest.fixture(scope="module")
def expected():
    """The penalty and its gradients in float64."""
    exact = Exact(build())
    with pytest.MonkeyPatch.context() as monkeypatch:
        with tf.GradientTape() as tape:
            tape.watch(exact.weights)
            value = exact.penalty(exact.weights, monkeypatch)
        gradients = tape.gradient(
            value, exact.weights, unconnected_gradients="zero"
        )
        # In one direction, by finite differences.
        rng = np.random.default_rng(1)
        direction = [rng.normal(size=w.shape) for w in exact.weights]
        ends = [
            exact.penalty(
                [
                    w + step * d
                    for w, d in zip(exact.weights, direction, strict=True)
                ],
                monkeypatch,
            )
            for step in (1e-7, -1e-7)
        ]
    slope = sum(
        float(tf.reduce_sum(g * d))
        for g, d in zip(gradients, direction, strict=True)
    )
    assert slope == pytest.approx(float(ends[0] - ends[1]) / 2e-7, rel=1e-4)
    return value, gradients


def check(value, gradients, expected, variables):
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-4)
    size = max(float(tf.norm(g)) for g in expected[1])
    for variable, found, wanted in zip(
        variables, gradients, expected[1], strict=True
    ):
        if found is None:
            found = tf.zeros_like(wanted)
        error = float(tf.norm(tf.cast(found, tf.float64) - wanted))
        # Rounding may carry a feature across the kink of a ReLU.
        bound = 5e-3 * float(tf.norm(wanted)) + 1e-6 * size
        assert error <= bound, variable.path


@pytest.mark.usefixtures("run_eagerly")
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_the_penalty_are_those_of_float64(case, expected):
    network = build(**CASES[case])
    found = penalty_and_gradients(network)
    check(*found, expected, network.trainable_variables)


@pytest.mark.parametrize(
    ("case", "jit_compile"),
    [
        ("query_blocks", False),
        ("recompute", False),
        ("recompute_bfloat16", False),
        ("recompute_bfloat16", True),
    ],
)
def test_they_are_in_a_graph(case, jit_compile, expected):
    network = build(**CASES[case])
    compiled = tf.function(
        penalty_and_gradients, autograph=False, jit_compile=jit_compile
    )
    check(*compiled(network), expected, network.trainable_variables)


def test_a_policy_is_left_only_for_the_penalty():
    network = build(precision="mixed_bfloat16")
    with in_float32(network):
        assert network.blocks[0].conv1.compute_dtype == "float32"
    assert network.blocks[0].conv1.compute_dtype == "bfloat16"
    assert network.dense.compute_dtype == "float32"


def test_consistency_is_the_mean_squared_difference():
    logits, others = tf.constant([[1.0], [2.0]]), tf.constant([[3.0], [1.0]])
    assert consistency(logits, others).numpy() == (4.0 + 1.0) / 2


def test_lecam_pulls_logits_below_the_anchor_of_the_others():
    real, fake = tf.constant([[3.0], [-1.0]]), tf.constant([[0.0], [2.0]])
    # real - 0.5 = 2.5, -1.5; 1 - fake = 1, -1.
    assert lecam(real, fake, 1.0, 0.5).numpy() == 6.25 / 2 + 1.0 / 2


def test_orthogonality_is_of_the_products_of_different_filters():
    kernel = np.float32([[1, 2, 0], [0, 1, 1]]).reshape(1, 1, 2, 3)
    # Products: 1 * 2, 0, 2 * 0 + 1 * 1; each counts twice.
    assert orthogonality([tf.constant(kernel)]).numpy() == 2 * (4 + 0 + 1)
    assert orthogonality([tf.eye(3)] * 2).numpy() == 0.0
