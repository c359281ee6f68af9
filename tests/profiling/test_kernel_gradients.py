"""What the benchmark of kernel gradients measures."""

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers import kernel_gradient
from sagan.layers.numerics.operations import CONV, DOWN, UP, Operation
from sagan.profiling.kernel_gradients import (
    FORMS,
    benchmark,
    chosen_form,
    convolutions,
)

SETTINGS = {
    "image_size": 32,
    "base_channels": 4,
    "attention_resolutions": (16,),
}


def test_convolutions_are_those_whose_kernels_a_step_updates(monkeypatch):
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: True)
    found = convolutions(
        build_generator(**SETTINGS), build_discriminator(**SETTINGS), 3
    )
    shapes = {(o.name, o.inputs, o.kernel) for o in found}
    assert shapes == {
        *((UP, (3, size, size, 16), (3, 3, 16, 16)) for size in (4, 8, 16)),
        *((CONV, (3, size, size, 16), (3, 3, 16, 16)) for size in (8, 16, 32)),
        (CONV, (3, 32, 32, 16), (3, 3, 16, 3)),
        (CONV, (6, 32, 32, 3), (3, 3, 3, 8)),
        (DOWN, (6, 32, 32, 8), (3, 3, 8, 8)),
        (CONV, (6, 16, 16, 8), (3, 3, 8, 8)),
        (DOWN, (6, 16, 16, 8), (3, 3, 8, 8)),
        (CONV, (6, 8, 8, 8), (3, 3, 8, 8)),
    }
    # 48 positions for 16 channels, and 96 for 8 in the discriminator.
    assert {o.inputs for o in found if o.products} == {(3, 4, 4, 16)}


def test_rows_have_both_forms(monkeypatch):
    operation = Operation(UP, "bfloat16", (1, 4, 4, 8), (3, 3, 8, 16))
    (row,) = benchmark([operation], samples=3)
    assert row["shape"] == "1x4x4x8->16"
    assert (row["positions"], row["channels"]) == (16, 8)
    for form in FORMS:
        assert 0 < row[f"{form}_lower"] <= row[form] <= row[f"{form}_upper"]
    monkeypatch.setattr(kernel_gradient, "on_cpu", lambda: True)
    assert chosen_form(row) == "products"
    assert chosen_form(row | {"positions": 1000}) == "framework"
