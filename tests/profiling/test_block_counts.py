"""Parameters and multiply-adds of each kind of block, by formula."""

import numpy as np
import pytest

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling.layer_table import layer_costs

CLASSES = 3


def conv(size, c, f, positions):
    """Parameters and multiply-adds of a convolution with bias."""
    return np.array([size**2 * c * f + f, size**2 * c * f * positions])


def merged(size, c, f, low):
    """Merged with resampling: a larger kernel for each low position."""
    parameters = conv(size, c, f, 0)[0]
    return np.array([parameters, (size + 1) ** 2 * c * f * low])


def norms(*channels):
    return np.array([2 * CLASSES * sum(channels), 0])


def bottleneck(c, f, low, high, up):
    m = f // 4
    if up:
        sums = conv(1, c, m, low) + merged(3, m, m, low) + conv(1, m, f, high)
        return sums + norms(c, m, m)
    return conv(1, c, m, high) + conv(3, m, m, high) + conv(1, m, f, low)


def separable(c, f, low, high, up):
    depthwise = [np.array([10 * n, 9 * n * high]) for n in (c, f)]
    last = conv(1, f, f, high if up else low)
    sums = sum(depthwise) + conv(1, c, f, high) + last
    return sums + norms(c, c, f, f) if up else sums


def inception(c, f, low, high, up):
    """Widths in 32nds of f: 8, 12 -> 16, 2 -> 4, and 4."""
    reduced = low if up else high
    window = (np.sqrt(low) + 1) ** 2 if up else low
    sums = (
        conv(1, c, f // 4, low)
        + conv(1, c, 3 * f // 8, reduced)
        + merged(3, 3 * f // 8, f // 2, low)
        + conv(1, c, f // 16, reduced)
        + merged(5, f // 16, f // 8, low)
        + conv(1, c, f // 8, window)
    )
    return sums + norms(c, 3 * f // 8, f // 16) if up else sums


def nin(c, f, low, high, up):
    first = merged(3, c, f, low) if up else conv(3, c, f, high)
    last = conv(1, f, f, high if up else low)
    sums = first + conv(1, f, f, high) + last
    return sums + norms(c, f, f) if up else sums


def recalibration(f):
    m = max(1, f // 16)
    return conv(1, f, m, 1) + conv(1, m, f, 1)


KINDS = {f.__name__: f for f in (bottleneck, separable, inception, nin)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("build", "size", "channels", "sides", "up"),
    # The second block of each network, at equal and at changing widths.
    [
        (build_generator, 32, (64, 64), (8, 16), True),
        (build_generator, 64, (128, 64), (8, 16), True),
        (build_discriminator, 32, (32, 32), (8, 16), False),
        (build_discriminator, 64, (16, 32), (16, 32), False),
    ],
)
def test_counts_are_those_of_the_formula(
    kind, build, size, channels, sides, up
):
    network = build(
        size,
        base_channels=16,
        num_classes=CLASSES,
        attention_resolutions=(),
        block=kind,
        recalibrate=True,
    )
    found = {"main_path": np.zeros(2), "recalibration": np.zeros(2)}
    rows = layer_costs(network)
    for row in rows:
        where, _, rest = row.name.partition("].")
        part = rest.split(".")[0]
        if where == "blocks[1" and part in found:
            found[part] += row.parameters, row.multiply_adds
    expected = KINDS[kind](*channels, *(n**2 for n in sides), up)
    np.testing.assert_array_equal(found["main_path"], expected)
    expected = recalibration(channels[1])
    np.testing.assert_array_equal(found["recalibration"], expected)
    total = sum(row.parameters for row in rows)
    assert total == sum(np.prod(v.shape) for v in network.trainable_variables)
