"""Latents and labels are a function of the seed alone."""

import numpy as np
import tensorflow as tf

from sagan.latents import fold_in


def test_keys_have_64_bits():
    keys = np.array([fold_in(fold_in([0, 0], i), 0) for i in range(64)])
    assert keys.dtype == np.int64
    # A key of 32 bits never has those above; as a sign, one in two has.
    assert np.mean(np.abs(keys[:, 0]) >= 2**32) > 0.9
    assert len(np.unique(keys[:, 0])) == len(keys)


def test_the_dtype_of_a_number_makes_no_difference():
    expected = fold_in([3, 1], 5)
    for number in (tf.constant(5), tf.constant(5, tf.int64), np.int32(5)):
        np.testing.assert_array_equal(fold_in([3, 1], number), expected)
