"""The check at the start of a run refuses what a processor gets wrong."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tiny_gan import make_gan

from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.layers import kernel_gradient, pointwise
from sagan.layers.numerics import check_networks, deviations
from sagan.layers.numerics.check import check_operations
from sagan.layers.numerics.operations import (
    CONV,
    CONV5,
    DEPTHWISE,
    DOWN,
    UP,
    Operation,
    network_operations,
)
from sagan.layers.spectral_norm import SpectralLayer
from sagan.training.train import train

MACHINE = "2 cores of Some Processor"
LAYER = ((2, 32, 32, 16), (1, 1, 16, 8))


def in_16_bits_only(wrong):
    """Returns an implementation that is `wrong` except in float32."""

    def implementation(inputs, kernel):
        if inputs.dtype == tf.float32:
            return pointwise.gemm(inputs, kernel)
        return wrong(inputs, kernel)

    return implementation


def leaking_rows(inputs, kernel):
    return pointwise.gemm(inputs + tf.roll(inputs, 1, 2) / 4, kernel)


@tf.custom_gradient
def stalling_kernel_gradient(inputs, kernel):
    def backward(gradient):
        terms = inputs[..., None] * gradient[..., None, :]
        terms = tf.reshape(terms, [-1, tf.size(kernel)])
        # Rounds each of its partial sums, as no sum of a library should.
        total = tf.scan(tf.add, terms)[-1]
        d_inputs = pointwise.gemm(gradient, tf.transpose(kernel, [0, 1, 3, 2]))
        return d_inputs, tf.reshape(total, kernel.shape)

    return pointwise.gemm(inputs, kernel), backward


@tf.custom_gradient
def wrong_input_gradient(inputs, kernel):
    outputs = pointwise.gemm(inputs, kernel)

    def backward(gradient):
        right = tf.gradients(pointwise.gemm(inputs, kernel), kernel, gradient)
        return tf.zeros_like(inputs), right[0]

    return outputs, backward


def not_finite(inputs, kernel):
    return pointwise.gemm(inputs, kernel) * np.nan


WRONG = {
    "outputs are off by": leaking_rows,
    "gradient of the kernel is off by": stalling_kernel_gradient,
    "gradient of the inputs is off by 100 %": wrong_input_gradient,
    "outputs are not finite": not_finite,
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_implementation_is_refused(words, monkeypatch):
    wrong = in_16_bits_only(WRONG[words])
    monkeypatch.setitem(pointwise.IMPLEMENTATIONS, "mine", wrong)
    check_operations([Operation("mine", "float32", *LAYER)], MACHINE)
    with pytest.raises(ValueError, match=words) as error:
        check_operations([Operation("mine", "bfloat16", *LAYER)], MACHINE)
    message = str(error.value)
    start = f"POINTWISE = 'mine' is wrong in bfloat16 on {MACHINE}: its "
    assert message.startswith(start)
    assert "at 2x32x32x16->8" in message
    assert "Right here: conv2d, dense, matmul, gemm" in message
    assert "Set POINTWISE = 'conv2d'" in message
    assert "\n" not in message


def test_where_none_is_right_the_dtype_has_to_go(monkeypatch):
    wrong = in_16_bits_only(leaking_rows)
    for name in pointwise.IMPLEMENTATIONS:
        monkeypatch.setitem(pointwise.IMPLEMENTATIONS, name, wrong)
    operations = [Operation("conv2d", "bfloat16", *LAYER)]
    with pytest.raises(ValueError, match="None .* is right. Set PRECISION"):
        check_operations(operations, MACHINE)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    with pytest.raises(ValueError, match="Unset TF_ENABLE_ONEDNN_OPTS"):
        check_operations(operations, MACHINE)


def test_gradients_are_no_matter_where_none_are_made(monkeypatch):
    wrong = in_16_bits_only(stalling_kernel_gradient)
    monkeypatch.setitem(pointwise.IMPLEMENTATIONS, "mine", wrong)
    operations = [Operation("mine", "bfloat16", *LAYER)]
    check_operations(operations, MACHINE, gradients=False)


def test_a_bias_whose_gradient_stalls_is_refused(monkeypatch):
    def add_bias(self, outputs):
        return tf.nn.bias_add(outputs, tf.cast(self.bias, outputs.dtype))

    gan = make_gan(base_channels=4, precision="mixed_bfloat16")
    networks = {gan.discriminator: 64}
    check_networks(networks, MACHINE)
    monkeypatch.setattr(SpectralLayer, "add_bias", add_bias)
    ones = tf.ones([8, 32, 32, 1], tf.bfloat16)
    stalls = tf.raw_ops.BiasAddGrad(out_backprop=ones)[0] != 8192.0
    if stalls:  # So it does on a CPU.
        with pytest.raises(ValueError, match="The bias is wrong in bfloat16"):
            check_networks(networks, MACHINE)


@pytest.mark.parametrize("name", [CONV, UP])
def test_a_wrong_convolution_is_refused(name, monkeypatch):
    convolve = {
        CONV: (tf.nn, "conv2d"),
        UP: (deviations, "upsample_conv"),
    }[name]
    right = getattr(*convolve)
    monkeypatch.setattr(*convolve, lambda *a, **k: 1.05 * right(*a, **k))
    operations = [Operation(name, "float16", (2, 8, 8, 4), (3, 3, 4, 4))]
    with pytest.raises(ValueError, match=f"The {name} is wrong in float16"):
        check_operations(operations, MACHINE)


@pytest.mark.parametrize("name", [CONV, UP])
def test_a_wrong_product_is_refused_and_has_another_form(name, monkeypatch):
    right = kernel_gradient._products
    monkeypatch.setattr(
        kernel_gradient, "_products", lambda *a: 1.05 * right(*a)
    )
    shapes = (2, 8, 8, 4), (3, 3, 4, 4)
    operation = Operation(name, "bfloat16", *shapes, products=True)
    message = f"The {name} is wrong .* Set product_gradient = False"
    with pytest.raises(ValueError, match=message):
        check_operations([operation], MACHINE)
    check_operations([dataclasses.replace(operation, products=False)], MACHINE)


def test_both_forms_of_a_network_are_checked(monkeypatch):
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: True)
    discriminator = build_discriminator(
        32, base_channels=64, attention_resolutions=()
    )
    operations = network_operations(discriminator, 2)
    found = {(o.name, o.products) for o in operations}
    assert {(CONV, True), (CONV, False), (DOWN, True)} <= found


@pytest.mark.parametrize(
    ("precision", "mode"),
    [
        ("float32", "jit"),
        ("mixed_bfloat16", "function"),
        ("mixed_float16", "eager"),
    ],
)
def test_networks_are_right_here_and_left_as_they_were(precision, mode):
    gan = make_gan(base_channels=4, precision=precision, fused_fgh=True)
    networks = {gan.generator: 4, gan.discriminator: 8}
    before = [v.numpy() for network in networks for v in network.variables]
    dtype = gan.generator.compute_dtype
    try:
        text = check_networks(networks, MACHINE, mode)
    except ValueError as error:
        # Kernel gradients in float16 are not right everywhere (Zen 5).
        words = f"wrong in float16 on {MACHINE}: its gradient of the kernel"
        if words not in str(error):
            raise
        text = check_networks(networks, MACHINE, mode, gradients=False)
    assert text.startswith(f"conv2d and convolutions in {dtype}")
    after = [v.numpy() for network in networks for v in network.variables]
    np.testing.assert_equal(before, after)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("separable", (DEPTHWISE, "float32", (3, 3, 1, 8))),
        ("inception", (CONV5, "bfloat16", (5, 5, 1, 1))),
    ],
)
def test_the_layers_of_other_blocks_are_checked(block, expected):
    discriminator = build_discriminator(
        32,
        base_channels=4,
        attention_resolutions=(),
        precision="mixed_bfloat16",
        block=block,
    )
    operations = network_operations(discriminator, 8)
    found = {(o.name, o.dtype, o.kernel) for o in operations}
    assert expected in found
    check_operations(operations, MACHINE)


def test_a_run_is_refused_before_its_first_step(tmp_path, monkeypatch):
    monkeypatch.chdir(__file__.rpartition("/tests/")[0])
    monkeypatch.setitem(pointwise.IMPLEMENTATIONS, "mine", leaking_rows)
    bindings = [
        "POINTWISE = 'mine'",
        "BASE_CHANNELS = 2",
        "make_dataset.num_examples = 64",
    ]
    parse_config(["configs/synthetic.gin"], bindings)
    with pytest.raises(ValueError, match="'mine' is wrong in float32"):
        train(workdir=str(tmp_path / "run"))
    assert not (tmp_path / "run" / "checkpoints").exists()
