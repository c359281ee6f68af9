"""Every pointwise implementation equals a loop, at every shape there is."""

import functools
import pathlib

import gin
import numpy as np
import pytest
import tensorflow as tf
from refusals import assert_refused

from sagan.layers import pointwise
from sagan.profiling import conformance
from sagan.profiling.conformance import MODES, RESULTS, ROUNDING, errors
from sagan.profiling.pointwise import Shape, config_shapes

SMALL_SHAPES = (
    Shape(2, 1, 1, 5, 3),
    Shape(2, 3, 5, 4, 7),
    Shape(1, 4, 4, 1, 6),
    Shape(2, 7, 2, 8, 1),
    Shape(1, 1, 3, 1, 1),
    Shape(1, 2, 2, 64, 16),
)


@functools.cache
def shipped_shapes():
    """Of all 1x1 convolutions in the networks of configs/, on one image."""
    shapes = set()
    for path in pathlib.Path("configs").glob("*.gin"):
        # Neither deltas nor classifiers have the networks.
        if not path.stem.startswith(("mixed_", "classifier_")):
            gin.clear_config()
            shapes |= set(config_shapes([str(path)], batch_size=1))
    # Discriminator updates see twice as many images.
    return sorted(shape for shape in shapes if shape.batch == 1)


def check(shape, dtype, modes):
    found = errors(shape, dtype, modes)
    rows = len(pointwise.IMPLEMENTATIONS)
    assert len(found) == len(modes) * rows * len(RESULTS)
    wrong = {key[:2] for key, error in found.items() if not error <= 1}
    for mode, name in wrong:
        inputs = shape.batch, shape.height, shape.width, shape.channels
        assert_refused(name, inputs, shape.filters, dtype, mode)


@pytest.mark.parametrize("shape", SMALL_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ROUNDING)
def test_values_and_gradients_equal_a_loop(shape, dtype):
    check(shape, dtype, MODES)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_they_do_at_every_shape_of_the_shipped_networks(dtype):
    shapes = shipped_shapes()
    assert len(shapes) > 40
    # scripts/check_pointwise.py goes through all modes in all dtypes.
    for shape in shapes:
        check(shape, dtype, MODES if dtype == "float32" else ["function"])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda inputs, kernel: pointwise.gemm(inputs, kernel[..., ::-1]),
        lambda inputs, kernel: pointwise.gemm(inputs, kernel) * 1.01,
        lambda inputs, kernel: pointwise.gemm(inputs[:, ::-1], kernel),
        lambda inputs, kernel: pointwise.gemm(
            tf.stop_gradient(inputs) + (inputs - tf.stop_gradient(inputs)) * 2,
            kernel,
        ),
        lambda inputs, kernel: pointwise.gemm(inputs, kernel) * np.nan,
    ],
    ids=["filters reversed", "1 % off", "rows reversed", "gradient", "NaN"],
)
def test_a_wrong_implementation_is_noticed(wrong, monkeypatch):
    monkeypatch.setitem(pointwise.IMPLEMENTATIONS, "wrong", wrong)
    shapes = Shape(2, 4, 4, 256, 64), Shape(1, 3, 2, 64, 5)
    worst, lines = conformance.check(shapes, ["float32"], ["function"])
    bad = {row for row, error in worst.items() if not error <= 1}
    assert bad == {("float32", "function", "wrong")}
    assert lines
    assert all(line.startswith("wrong ") for line in lines)
