"""Kernel gradients as products: those of the framework's convolution."""

import csv
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from sagan.layers import kernel_gradient
from sagan.layers.kernel_gradient import conv2d, conv2d_transpose, pays
from sagan.profiling import kernel_gradients

ROOT = pathlib.Path(__file__).parents[2]
TABLES = sorted((ROOT / "docs/benchmarks").glob("kernel_gradient_*.csv"))
# Of one rounding to the dtype, which is all that a right sum may add.
ROUNDING = {"float32": 1e-6, "bfloat16": 2.0**-8, "float16": 2.0**-11}
# Size of the kernel, stride, and height and width that are not equal.
FORMS = [
    (3, 1, (5, 7)),
    (5, 1, (1, 4)),
    (4, 2, (6, 8)),
    (6, 2, (2, 4)),
    (4, 2, (2, 2)),
]


def gradients(convolve, inputs, kernel, *arguments):
    """Outputs, and both gradients of a fixed positive direction's product."""
    with tf.GradientTape() as tape:
        tape.watch((inputs, kernel))
        outputs = convolve(inputs, kernel, *arguments)
    direction = tf.random.stateless_uniform(tf.shape(outputs), [1, 2])
    direction = tf.cast(direction, inputs.dtype)
    return outputs, *tape.gradient(outputs, (inputs, kernel), direction)


def draw(dtype, size, map_size, images):
    """Positive inputs, whose sums grow with their terms, and a kernel."""
    inputs = tf.random.stateless_uniform([images, *map_size, 3], [0, 1])
    kernel = tf.random.stateless_normal([size, size, 3, 3], [0, 2])
    return tf.cast(inputs, dtype), tf.cast(kernel, dtype)


def exact(convolve, inputs, kernel, *arguments):
    operands = [tf.cast(t, tf.float64) for t in (inputs, kernel)]
    with tf.GradientTape() as tape:
        tape.watch(operands)
        outputs = convolve(*operands, *arguments)
    direction = tf.random.stateless_uniform(outputs.shape, [1, 2])
    direction = tf.cast(tf.cast(direction, inputs.dtype), tf.float64)
    return tape.gradient(outputs, operands[1], direction)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize(("size", "stride", "map_size"), FORMS)
def test_gradients_are_those_of_the_convolution(dtype, size, stride, map_size):
    """Over 2,000 terms at least, more than a 16-bit sum can grow by."""
    inputs, kernel = draw(dtype, size, map_size, 500)
    forms = [(conv2d, (stride, True), (stride, False))]
    if stride == 2:
        forms.append((conv2d_transpose, (True,), (False,)))
    for convolve, products, framework in forms:
        outputs, d_inputs, d_kernel = gradients(
            convolve, inputs, kernel, *products
        )
        expected = gradients(convolve, inputs, kernel, *framework)
        np.testing.assert_array_equal(outputs, expected[0])
        np.testing.assert_array_equal(d_inputs, expected[1])
        assert d_kernel.dtype == inputs.dtype
        np.testing.assert_allclose(
            np.float64(d_kernel),
            exact(convolve, inputs, kernel, *framework),
            rtol=4 * ROUNDING[dtype],
        )


@pytest.mark.parametrize(("size", "stride", "map_size"), FORMS)
def test_a_gradient_penalty_has_the_same_gradients(size, stride, map_size):
    """Of second order by inputs and kernel, in a graph as in training."""
    inputs, kernel = draw("float32", size, map_size, 2)

    @tf.function(autograph=False)
    def penalty(convolve, *arguments):
        with tf.GradientTape() as outer:
            outer.watch((inputs, kernel))
            with tf.GradientTape() as inner:
                inner.watch((inputs, kernel))
                outputs = convolve(inputs, kernel, *arguments) ** 3
            found = inner.gradient(outputs, (inputs, kernel))
            total = sum(tf.reduce_sum(tf.square(g)) for g in found)
        return outer.gradient(total, (inputs, kernel))

    forms = [(conv2d, (stride, True), (stride, False))]
    if stride == 2:
        forms.append((conv2d_transpose, (True,), (False,)))
    for convolve, products, framework in forms:
        for one, other in zip(
            penalty(convolve, *products),
            penalty(convolve, *framework),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-2)


def test_it_pays_where_kernels_are_large_beside_their_maps(monkeypatch):
    wide, narrow = (4, 4, 1024, 1024), (4, 4, 16, 1024)
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: True)
    assert pays("float32", 1024, wide)
    assert pays("bfloat16", 1024, wide)
    assert not pays("bfloat16", 1024, narrow)
    assert not pays("float32", 2**14, wide)
    assert not pays("float64", 1, wide)
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: False)
    assert not pays("float32", 1024, wide)


@pytest.mark.parametrize(
    ("convolve", "arguments"),
    [(conv2d, (2, True)), (conv2d_transpose, (True,))],
)
def test_an_unknown_number_of_images_is_left_to_the_framework(
    convolve, arguments
):
    """As nothing tells then whether products pay."""
    inputs, kernel = draw("float32", 4, (4, 4), 2)
    found = tf.function(
        lambda inputs: gradients(convolve, inputs, kernel, *arguments),
        input_signature=[tf.TensorSpec([None, 4, 4, 3])],
    )
    types = {
        o.type for o in found.get_concrete_function().graph.get_operations()
    }
    assert "Conv2DBackpropFilter" in types
    expected = gradients(convolve, inputs, kernel, *arguments)
    for one, other in zip(found(inputs), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_the_rule_is_as_fast_as_either_form_as_measured(table, monkeypatch):
    """Summed over the distinct layers of a network, on a CPU."""
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: True)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    sums = [
        sum(float(row[form]) for row in rows) for form in kernel_gradients.FORMS
    ]
    chosen = [float(row[kernel_gradients.chosen_form(row)]) for row in rows]
    assert sum(chosen) <= min(sums)
    # No layer loses more than the machine's noise.
    for row, ours in zip(rows, chosen, strict=True):
        assert ours <= 1.15 * float(row["framework"]), row["shape"]


def test_tables_are_there():
    assert len(TABLES) >= 4
