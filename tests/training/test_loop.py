"""Steps of a call of the compiled function."""

import pytest

from sagan.training.loop import step_calls


@pytest.mark.parametrize(
    ("start", "num_steps", "size", "expected"),
    [
        (0, 3, 1, [[1], [2], [3]]),
        (0, 5, 2, [[1, 2], [3, 4], [5]]),
        (3, 8, 4, [[4], [5, 6, 7, 8]]),
        (4, 8, 4, [[5, 6, 7, 8]]),
        (2, 3, 10, [[3]]),
    ],
)
def test_calls_end_at_multiples_of_their_size(start, num_steps, size, expected):
    calls = step_calls(start, num_steps, size)
    assert [list(steps) for steps in calls] == expected
