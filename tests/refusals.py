"""Where TensorFlow is wrong on a processor, the check of a run must say so."""

import pytest

from sagan.layers.numerics.check import check_operations
from sagan.layers.numerics.operations import Operation


def assert_refused(name, shape, filters, dtype, mode="eager"):
    """Asserts that a run with a pointwise implementation is refused.

    Args:
        name: Key of `IMPLEMENTATIONS`, whose result was seen to be wrong.
        shape: Of the inputs, `(batch, height, width, channels)`.
        filters: Number of filters.
        dtype: A dtype of 16 bits: in float32 nothing may be wrong.
        mode: Of `MODES`: how it was run.
    """
    assert dtype != "float32", (name, shape, filters)
    kernel = (1, 1, shape[-1], filters)
    operation = Operation(name, dtype, tuple(shape), kernel)
    with pytest.raises(ValueError, match=f"'{name}' is wrong in {dtype}"):
        check_operations([operation], "this processor", mode)
