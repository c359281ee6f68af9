"""What counts as the same."""

import dataclasses

import numpy as np
import pytest
import scipy.special

from sagan.exporting.program import (
    Program,
    call_in_batches,
    in_batches,
)
from sagan.exporting.proof import compare


def make_program(expected, labels=None):
    n = len(expected)
    inputs = {"x": np.arange(n, dtype=np.float32)}
    return Program(None, None, inputs, {"y": expected}, {}, {}, {}, labels)


def returning(values):
    """Returns an export that returns the row of each input."""
    return lambda inputs: {"y": values[inputs["x"].astype(int)]}


@pytest.mark.parametrize(
    ("precision", "scale", "error", "tolerated"),
    [
        ("float32", 1.0, 1.9e-5, True),
        ("float32", 1.0, 2.1e-5, False),
        # Relative to outputs larger than 1, as logits are.
        ("float32", 20.0, 3.9e-4, True),
        ("float32", 20.0, 4.1e-4, False),
        ("float32", 0.01, 1.9e-5, True),
        ("float16", 1.0, 0.029, True),
        ("float16", 1.0, 0.031, False),
        ("float32", 1.0, float("nan"), False),
    ],
)
def test_the_largest_difference_decides(precision, scale, error, tolerated):
    expected = np.full((40, 30), scale)
    found = expected.copy()
    found[33, 7] += error
    program = make_program(expected)
    if tolerated:
        result = compare(program, returning(found), precision)
        values = result["differences"]["y"]
        np.testing.assert_allclose(values["largest"], error, rtol=1e-6)
        np.testing.assert_allclose(values["mean"], error / 1200, rtol=1e-6)
        np.testing.assert_allclose(values["worst"], error / 30, rtol=1e-6)
        assert result["examples"] == 40
    else:
        with pytest.raises(ValueError, match="nothing was written"):
            compare(program, returning(found), precision)


def test_many_small_differences_of_one_example_are_too_many():
    expected = np.zeros((40, 30))
    found = expected.copy()
    found[7] += 4e-6
    with pytest.raises(ValueError, match="mean difference in the worst"):
        compare(make_program(expected), returning(found), "float32")


@pytest.fixture(scope="module")
def outputs():
    """What a trained generator returns, as far as it varies and is sharp."""
    rng = np.random.default_rng(0)
    scores = {
        "attention_8": rng.normal(size=[24, 64, 64]),
        "attention_16": rng.normal(size=[24, 256, 64]),
    }
    images = np.tanh(rng.normal(size=[24, 32, 32, 3]))
    return {
        name: scipy.special.softmax(2 * values, axis=-1)
        for name, values in scores.items()
    } | {"images": images}


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_plausible_faults_are_caught(outputs, precision):
    def check(**wrong):
        found = outputs | wrong
        program = dataclasses.replace(
            make_program(outputs["images"]), expected=outputs
        )
        call = lambda inputs: {  # noqa: E731
            name: values[inputs["x"].astype(int)]
            for name, values in found.items()
        }
        compare(program, call, precision)

    check()
    images, maps = outputs["images"], outputs["attention_16"]
    one = images.copy()
    one[5] = images[6]
    with pytest.raises(ValueError, match="difference.* of images"):
        check(images=one)  # A single one of another latent.
    with pytest.raises(ValueError, match="difference.* of attention_16"):
        check(attention_16=np.roll(maps, len(maps) // 2, axis=0))
    with pytest.raises(ValueError, match="attention_16 is .* checkpoint's"):
        check(attention_16=outputs["attention_8"])
    with pytest.raises(ValueError, match="difference.* of attention_16"):
        check(attention_16=maps[:, :, ::-1])  # Keys in another order.


def test_pixels_may_round_to_the_next_level():
    expected = np.full((40, 300), 7, np.uint8)
    found = expected.copy()
    found[3, 3] += 1
    compare(make_program(expected), returning(found), "float32")
    found[3, 3] += 1
    with pytest.raises(ValueError, match="largest difference"):
        compare(make_program(expected), returning(found), "float32")


def test_accuracies_are_of_the_same_images():
    logits = np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.6], [0.2, 0.1]])
    program = dataclasses.replace(
        make_program(logits, labels=np.array([1, 0, 1, 1])),
        expected={"logits": logits},
    )
    other = logits.copy()
    other[2] = [0.6, 0.5]
    call = returning(other)
    result = compare(
        program, lambda inputs: {"logits": call(inputs)["y"]}, "int8"
    )
    assert result["accuracy"] == {"checkpoint": 0.75, "export": 0.5}


@pytest.mark.parametrize("size", [1, 4, 7, 10])
def test_batches_are_all_full_and_joined_without_the_filling(size):
    inputs = {"x": np.arange(7), "y": np.arange(14).reshape(7, 2)}
    parts = list(in_batches(inputs, size))
    assert {len(part["x"]) for part in parts} == {size}
    joined = call_in_batches(
        lambda part: {"sum": part["x"] + part["y"].sum(-1)}, inputs, size
    )
    np.testing.assert_array_equal(
        joined["sum"], inputs["x"] + inputs["y"].sum(-1)
    )
