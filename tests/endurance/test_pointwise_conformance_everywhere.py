"""Every pointwise implementation is exact at every shape there is."""

import functools
import pathlib
import subprocess
import sys

import pytest
from refusals import assert_refused

from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling import conformance
from sagan.profiling.conformance import MODES, ROUNDING
from sagan.profiling.pointwise import Shape, pointwise_shapes

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
    """Returns those of all networks in configs/, on one image."""
    shapes = set()
    for path in pathlib.Path("configs").glob("*.gin"):
        # Neither deltas nor classifiers have the networks.
        if not path.stem.startswith(("mixed_", "classifier_")):
            parse_config([str(path)])
            networks = build_generator(), build_discriminator()
            shapes |= pointwise_shapes(*networks, batch_size=1)
    # Discriminator updates see twice as many images.
    return sorted(shape for shape in shapes if shape.batch == 1)


@pytest.mark.parametrize("dtype", ROUNDING)
def test_every_implementation_is_exact_at_every_shipped_shape(dtype):
    shapes = shipped_shapes()
    assert len(shapes) > 40
    # scripts/check_pointwise.py goes through all modes in all dtypes.
    modes = MODES if dtype == "float32" else ["function"]
    _, wrong = conformance.check(shapes, [dtype], modes)
    _, small = conformance.check(SMALL_SHAPES, [dtype])
    for name, shape, _, mode, _ in (*wrong, *small):
        inputs = shape.batch, shape.height, shape.width, shape.channels
        assert_refused(name, inputs, shape.filters, dtype, mode)


def test_the_command_checks_all_and_exits_with_1_if_one_is_wrong():
    result = subprocess.run(
        [
            sys.executable,
            "scripts/check_pointwise.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--modes=function",
        ],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert " rows: 8 implementations, " in result.stdout, result.stderr
    right = "convolutions and biases: all right." in result.stdout
    wrong = "WRONG: " in result.stdout
    assert right or wrong
    assert result.returncode == int(wrong)
