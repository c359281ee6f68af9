"""Numbers of attention maps against loops over keys and positions."""

import math

import numpy as np
import pytest

from sagan.metrics.attention import (
    attention_statistics,
    distinct_queries,
    spread_keys,
)

SIZES = {"whole": (3, 4, 12), "pooled": (4, 6, 6), "odd": (5, 3, 6)}


def _maps(queries, keys, images=2):
    maps = np.random.default_rng(0).exponential(size=(images, queries, keys))
    return maps / maps.sum(-1, keepdims=True)


def _window(key, height, width, keys):
    """Positions that a key stands for, from the definition of the pooling."""
    if keys == height * width:
        return [divmod(key, width)]
    row, column = divmod(key, -(-width // 2))
    return [
        (2 * row + i, 2 * column + j)
        for i in (0, 1)
        for j in (0, 1)
        if 2 * row + i < height and 2 * column + j < width
    ]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_statistics_equal_loops(size):
    height, width, keys = size
    maps = _maps(height * width, keys)
    distance = far = entropy = 0.0
    for attention in maps:
        for query, weights in enumerate(attention):
            for key, weight in enumerate(weights):
                window = _window(key, height, width, keys)
                for place in window:
                    length = math.dist(divmod(query, width), place)
                    distance += 8 * length * weight / len(window)
                    far += (length > height / 4) * weight / len(window)
                entropy -= weight * math.log2(weight)
    rows = len(maps) * height * width
    found = attention_statistics(maps, (height, width), pixels=8)
    assert found["distance"] == pytest.approx(distance / rows)
    assert found["far"] == pytest.approx(far / rows)
    assert found["entropy"] == pytest.approx(entropy / rows)
    assert found["largest"] == pytest.approx(maps.max(-1).mean())
    uniform = attention_statistics(
        np.full_like(maps, 1 / keys), (height, width), pixels=8
    )
    for name in ("distance", "far", "entropy"):
        assert uniform[name] == pytest.approx(found[f"{name}_uniform"])


def test_queries_that_look_at_one_key_are_told_from_focused_ones():
    same, own = np.eye(16)[np.zeros(16, int)], np.eye(16)
    found = [attention_statistics(m[None], (4, 4)) for m in (same, own)]
    assert [numbers["entropy"] for numbers in found] == [0, 0]
    assert [numbers["distinct"] for numbers in found] == [1, 16]
    assert found[1]["distance"] == 0


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_spread_keys_divides_weights_among_their_positions(size):
    height, width, keys = size
    maps = _maps(7, keys)
    spread = spread_keys(maps, (height, width))
    for key in range(keys):
        window = _window(key, height, width, keys)
        for row, column in window:
            expected = maps[..., key] / len(window)
            np.testing.assert_allclose(spread[..., row, column], expected)


def test_keys_of_another_size_are_refused():
    with pytest.raises(ValueError, match="5 keys .* 4x4 .* 16 or, pooled, 4"):
        spread_keys(np.ones((1, 5)), (4, 4))


def test_distinct_queries_are_the_farthest_apart():
    attention = np.full((6, 4), 0.25)
    attention[4] = 1, 0, 0, 0
    attention[2] = 0, 0, 0.1, 0.9
    assert distinct_queries(attention, 2) == [4, 2]
    assert sorted(distinct_queries(attention, 9)) == list(range(6))
