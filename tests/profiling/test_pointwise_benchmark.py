"""What the benchmark of the 1x1 convolution measures, and its tables."""

import pathlib
import subprocess
import sys

import pytest

from sagan.cli import check_choices
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling import figures, tables
from sagan.profiling.pointwise import Shape, pointwise_shapes
from sagan.profiling.pointwise_benchmark import benchmark, tally

ROOT = pathlib.Path(__file__).parents[2]


def test_shapes_are_those_of_one_training_step():
    settings = {
        "image_size": 32,
        "base_channels": 4,
        "attention_resolutions": (16,),
    }
    discriminator = build_discriminator(**settings)
    shapes = pointwise_shapes(build_generator(**settings), discriminator, 2)
    # Three shortcuts before the up-sampling, and f, g, h, v.
    expected = {
        (2, 4, 4, 16, 16), (2, 8, 8, 16, 16), (2, 16, 16, 16, 16),
        (2, 16, 16, 16, 2), (2, 16, 16, 16, 8), (2, 16, 16, 8, 16),
    }  # fmt: skip
    of_discriminator = {
        (16, 3, 8), (16, 8, 1), (16, 8, 4), (16, 4, 8), (8, 8, 8),
    }  # fmt: skip
    assert shapes == {Shape(*sizes) for sizes in expected} | {
        Shape(batch, size, size, channels, filters)
        for size, channels, filters in of_discriminator
        for batch in (2, 4)
    }
    generator = build_generator(**settings, fused_fgh=True)
    fused = pointwise_shapes(generator, discriminator, 2)
    assert fused - shapes == {Shape(2, 16, 16, 16, 2 + 2 + 8)}


def test_work_of_a_shape():
    shape = Shape(2, 4, 4, 8, 16)
    assert str(shape) == "2x4x4x8->16"
    assert shape.flops(False) == 2 * 32 * 8 * 16
    assert shape.flops(True) == 3 * shape.flops(False)
    operands = 32 * 8 + 32 * 16 + 8 * 16
    assert shape.bytes(4, False) == 4 * operands
    assert shape.bytes(2, True) == 2 * (2 * operands + 32 * 8 + 8 * 16)


def test_rows_name_what_they_measured(monkeypatch):
    monkeypatch.setattr(
        "sagan.profiling.pointwise_benchmark.measure_gemm_and_copy",
        lambda dtype: {"gemm": 1e9, "copy": 1e9},
    )
    shape, modes = Shape(1, 2, 3, 4, 5), ["eager", "function", "jit"]
    groups = list(benchmark([shape], ["bfloat16"], modes, samples=3))
    assert [(g[0]["mode"], g[0]["pass"]) for g in groups] == [
        (mode, direction) for mode in modes for direction in ("forward", "both")
    ]
    for group in groups:
        names = [row["implementation"] for row in group]
        assert names == list(IMPLEMENTATIONS)
        for row in group:
            flops = shape.flops(row["pass"] == "both") / row["median"]
            assert row["gflops"] == pytest.approx(flops / 1e9)
            assert row["share_of_gemm"] == pytest.approx(flops / 1e9)


def _rows(scale, mode="jit", names=("conv2d", "gemm"), device="here"):
    return [
        {
            "device": device, "shape": "s", "dtype": "float32", "mode": mode,
            "pass": "both", "implementation": name, "median": seconds * scale,
            "lower": 0.9 * seconds * scale, "upper": 1.1 * seconds * scale,
            "verdict": "slower",
        }
        for name, seconds in zip(names, (1.0, 0.5), strict=True)
    ]  # fmt: skip


def test_tables_are_compared_line_by_line(tmp_path):
    before, after, same = (tmp_path / f"{name}.csv" for name in "abc")
    tables.write_table(before, _rows(1.0))
    tables.write_table(after, _rows(0.5))
    tables.write_table(same, _rows(1.05))
    head, *faster, median = tables.compare(before, after)
    assert head.startswith(f"{after} against {before}")
    assert median.startswith("Median of all 2 ratios: 2.00.")
    assert len(faster) == 2
    assert all(line.endswith("2.00x as fast") for line in faster)
    ties = tables.compare(before, same)[1:-1]
    assert all(line.endswith("tie") for line in ties)
    others = _rows(1.0, names=("conv2d", "dense"), device="there")
    tables.write_table(same, others)
    *_, alone, devices = tables.compare(before, same)
    assert alone.startswith("2 lines")
    assert "here" in devices
    assert "there" in devices


def test_what_is_no_table_is_named(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(ValueError, match=r"no table .*a.csv"):
        tables.read_table(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column .*median"):
        tables.read_table(path)
    tables.write_table(path, _rows(1.0))
    assert len(tables.read_table(path)) == 2
    header, *_ = text = path.read_text().splitlines(keepends=True)
    path.write_text(header)
    assert tables.read_table(path) == []
    path.write_text("".join(text)[:-20])
    with pytest.raises(ValueError, match="line 3, is not whole"):
        tables.read_table(path)


def test_a_tally_adds_up_shapes_by_dtype_mode_and_pass():
    rows = [*_rows(3.0), *_rows(2.0), *_rows(1.0, mode="eager")]
    for row, shape in zip(rows[:4], "aabb", strict=True):
        row["shape"] = shape
    rows[1]["median"] = 2.0  # Of the second implementation, at shape "a".
    rows[0]["verdict"], rows[2]["verdict"] = "slower", "fastest"
    lines = [" ".join(line.split()) for line in tally(rows)]
    assert lines[0] == "float32 jit both"
    assert lines[1] == (
        "conv2d 5.0000 s at worst 2.00 times fastest 1 tie 0 slower 1"
    )
    assert lines[3] == "float32 eager both"
    assert len(lines) == 6


@pytest.mark.parametrize("names", [("conv2d", "gemm"), ("dense", "gemm")])
def test_every_row_is_drawn(tmp_path, monkeypatch, names):
    rows = [*_rows(1.0, names=names), *_rows(2.0, mode="eager", names=names)]
    panels = []
    monkeypatch.setattr(
        figures, "_save", lambda figure, path: panels.extend(figure.axes)
    )
    figures.draw_pointwise(tmp_path / "a.png", rows, "title")
    assert [panel.get_title() for panel in panels] == [
        "float32, jit, both",
        "float32, eager, both",
    ]
    for panel in panels:
        drawn = [bar.lines[0].get_ydata()[0] for bar in panel.containers]
        assert drawn == [1.0, 0.5]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "--x is ''"),
        (["a", "a"], "each once"),
        (["c"], "--x has 'c': expected one of a, b"),
    ],
)
def test_choices_are_some_of_the_known_each_once(values, message):
    check_choices("--x", ["b", "a"], ("a", "b"))
    with pytest.raises(ValueError, match=message):
        check_choices("--x", values, ("a", "b"))


def command(*arguments):
    return subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_pointwise.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--gin_bindings=ATTENTION_RESOLUTIONS=()",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_bad_flag_gets_one_clear_error():
    result = command("--modes=")
    assert result.returncode == 1
    assert result.stderr.startswith("Error: --modes is ''")
    assert "Traceback" not in result.stderr


def test_the_command_writes_a_table_and_a_plot(tmp_path):
    """Of the config's dtype, if no other is named."""
    result = command(
        "--gin_bindings=PRECISION='mixed_bfloat16'",
        "--batch_size=1",
        "--samples=3",
        "--implementations=conv2d,gemm",
        f"--out={tmp_path}",
    )
    assert result.returncode == 0, result.stderr
    assert "bfloat16 function both" in result.stdout
    rows = tables.read_table(tmp_path / "pointwise_synthetic.csv")
    assert {row["implementation"] for row in rows} == {"conv2d", "gemm"}
    assert (tmp_path / "pointwise_synthetic.png").stat().st_size > 5000
