"""Random shifts: each image whole except its border, repeatable."""

import itertools

import numpy as np
import pytest

from sagan.data import make_dataset
from sagan.evaluation.classifier_batches import shifted_batches


@pytest.fixture(scope="module")
def dataset():
    return make_dataset("synthetic", 32, 6, num_classes=4, num_examples=20)


def take(batches, count):
    return [
        (images.numpy(), labels.numpy())
        for images, labels in itertools.islice(batches, count)
    ]


def shift_of(image, shifted, padding):
    """Finds the shift that makes one of the other, by trying them all."""
    sides = [padding, padding]
    wide = np.pad(image, [sides, sides, [0, 0]], mode="reflect")
    size = len(image)
    for row, column in itertools.product(range(2 * padding + 1), repeat=2):
        window = wide[row : row + size, column : column + size]
        if np.array_equal(window, shifted):
            return row - padding, column - padding
    raise AssertionError(f"No shift of at most {padding} pixels.")


def test_each_image_is_shifted_by_itself(dataset):
    shifts = set()
    for (images, labels), (shifted, same_labels) in zip(
        take(dataset.batches(), 10),
        take(shifted_batches(dataset, 2, seed=0), 10),
        strict=True,
    ):
        np.testing.assert_array_equal(labels, same_labels)
        shifts |= {
            shift_of(*pair, 2) for pair in zip(images, shifted, strict=True)
        }
    # Of 60 images, most of the 25 possible shifts.
    assert len(shifts) > 18
    assert {s for s, _ in shifts} == {s for _, s in shifts} == set(range(-2, 3))


def test_shifts_are_repeatable_and_depend_on_the_seed(dataset):
    first = take(shifted_batches(dataset, 2, seed=0), 8)
    np.testing.assert_equal(first, take(shifted_batches(dataset, 2, 0), 8))
    other = take(shifted_batches(dataset, 2, seed=1), 8)
    assert any(
        not np.array_equal(a, b)
        for (a, _), (b, _) in zip(first, other, strict=True)
    )


def test_no_shift_changes_nothing(dataset):
    np.testing.assert_equal(
        take(shifted_batches(dataset, 0, seed=0), 3), take(dataset.batches(), 3)
    )
