"""Costs of each layer against counts by hand."""

import pytest

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling.layer_table import (
    REST,
    LayerCost,
    layer_costs,
    layer_table,
)

SETTINGS = {
    "image_size": 32,
    "base_channels": 16,
    "num_classes": 3,
    "attention_resolutions": (16,),
}


@pytest.fixture(scope="module")
def generator_rows():
    """The generator's rows by name, plain and rewritten."""
    networks = (
        build_generator(
            **SETTINGS, fused_resampling=False, low_resolution_shortcut=False
        ),
        build_generator(**SETTINGS),
    )
    return [{row.name: row for row in layer_costs(n)} for n in networks]


@pytest.mark.parametrize(
    ("build", "last", "size"),
    # The product, and the sum with the bias; logits are float32.
    [
        (build_generator, "conv", 2 * 2 * 32 * 32 * 3),
        (build_discriminator, "dense", 2 * 4),
    ],
)
def test_parameters_and_bytes_are_those_of_the_network(build, last, size):
    network = build(**SETTINGS, precision="mixed_bfloat16")
    table = {row.name: row for row in layer_costs(network)}
    assert sum(row.parameters for row in table.values()) == sum(
        v.value.shape.num_elements() for v in network.trainable_variables
    )
    assert table[last].activation_bytes == size


def test_multiply_adds_are_those_counted_by_hand(generator_rows):
    plain, merged = generator_rows
    for table in generator_rows:
        conv = table["blocks[1].conv2"]
        assert conv.shape == (16, 16, 64)
        assert conv.parameters == 9 * 64 * 64 + 64
        assert conv.multiply_adds == 16 * 16 * 64 * 9 * 64
        # Queries times keys, pooled, and the map times the values.
        block = table["attentions[2]"]
        assert block.multiply_adds == 256 * 64 * (64 // 8 + 64 // 2)
        assert block.parameters == 1
        assert table["attentions[2].f"].parameters == 64 * 8
        assert table["dense"].multiply_adds == 128 * 4 * 4 * 64
        assert table[REST].multiply_adds == 0
    # The product, and the sum with the bias.
    assert merged["conv"].activation_bytes == 2 * 4 * 32 * 32 * 3
    once = 8 * 8 * 64 * 64
    assert plain["blocks[0].conv1"].multiply_adds == 9 * once
    assert merged["blocks[0].conv1"].multiply_adds == 4 * once
    assert plain["blocks[0].shortcut"].multiply_adds == once
    assert merged["blocks[0].shortcut"].multiply_adds == once / 4


def test_merged_layers_are_less_work_and_the_same_weights(generator_rows):
    plain, merged = generator_rows
    assert plain.keys() == merged.keys()
    for name, row in merged.items():
        assert row.multiply_adds <= plain[name].multiply_adds
        assert row.parameters == plain[name].parameters
        assert row.is_pointwise == (
            name.endswith(("shortcut", ".f", ".g", ".h", ".v"))
        )
    total = [sum(r.multiply_adds for r in t.values()) for t in generator_rows]
    assert 4 / 9 < total[1] / total[0] < 0.8


def test_the_columns_are_aligned_however_long_the_names():
    for name in ("conv", f"blocks[0].{'x' * 40}"):
        rows = [
            LayerCost(name, (8, 8, 64), 10, 20, 30, True),
            LayerCost(REST, (), 0, 0, 1, False),
        ]
        lines = layer_table("generator", rows, rows)
        (length,) = set(map(len, lines))
        assert length == max(25, len(name) + 1) + 55
