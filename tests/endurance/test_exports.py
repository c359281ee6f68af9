"""Every generator there is exports to every format.

python -m pytest tests/endurance/test_exports.py
"""

from typing import get_args

import pytest
from random_weights import randomize

from sagan.exporting.export import export
from sagan.exporting.formats import FORMATS
from sagan.exporting.generators import generator_program
from sagan.exporting.program import Options
from sagan.generator import build_generator
from sagan.layers.block_kinds import BlockName
from sagan.layers.pointwise import CONTROLS, IMPLEMENTATIONS

NETWORKS = {
    "64 pixels": {"image_size": 64, "attention_resolutions": (32,)},
    "128 pixels": {"image_size": 128, "attention_resolutions": (32,)},
    "256 pixels": {"image_size": 256, "attention_resolutions": (64,)},
    "grey": {"channels": 1},
    "unconditional": {"num_classes": 0},
    "paper": {"attention": "paper"},
    "control": {"attention": "residual"},
    "fused": {"fused_fgh": True},
    "two blocks": {"attention_resolutions": (8, 16)},
    "no attention": {"attention_resolutions": ()},
    "plain resampling": {"fused_resampling": False, "fused_norm": False},
    "high shortcut": {"low_resolution_shortcut": False},
    "no spectral norm": {"spectral_norm": False},
    "recomputed": {"recompute": True},
    "recalibrated": {"recalibrate": True, "base_channels": 8},
    **{
        f"{block} block": {"block": block, "base_channels": 8}
        for block in get_args(BlockName)[1:]
    },
    **{
        name: {"pointwise": name}
        for name in sorted({*IMPLEMENTATIONS, *CONTROLS} - {"conv2d"})
    },
}


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_export_computes_the_same(tmp_path, name, format_name):
    settings = {
        "image_size": 32,
        "base_channels": 8 if name in CONTROLS else 2,
        "num_classes": 3,
        "latent_dim": 8,
        "attention_resolutions": (16,),
        "query_block": 0,  # As for the generator of a run.
    } | NETWORKS[name]
    generator = build_generator(**settings)
    randomize(generator)
    maps = name not in ("control", "no attention")
    options = Options(attention=maps)
    program = generator_program(generator, options, None, {})
    out = tmp_path / f"model{FORMATS[format_name].suffix}"
    export(program, format_name, out)


@pytest.mark.parametrize("block", get_args(BlockName))
def test_every_block_in_integers(tmp_path, block):
    """Padding with the smallest float ended the converter of LiteRT."""
    generator = build_generator(
        32, 3, 8, 8, 3, attention_resolutions=(), block=block
    )
    program = generator_program(generator, Options(), None, {})
    for format_name in ("litert", "onnx"):
        out = tmp_path / f"model{FORMATS[format_name].suffix}"
        export(program, format_name, out, precision="int8")


def test_exports_of_one_signature(tmp_path):
    """Fixed batch, one class, pixels as bytes: in every format."""
    for format_name, kind in FORMATS.items():
        generator = build_generator(32, 3, 2, 8, 3, attention_resolutions=(16,))
        randomize(generator)
        options = Options(batch=3, pixels="uint8", attention=True, label="1")
        program = generator_program(generator, options, 1, {})
        export(program, format_name, tmp_path / f"model{kind.suffix}")
