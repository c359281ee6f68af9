"""What the benchmarks measure, and that they call a tie a tie."""

import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from sagan.cli import check_choices
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling import figures, memory
from sagan.profiling import pointwise as tables
from sagan.profiling.memory import peak_growth
from sagan.profiling.pointwise import Shape, benchmark, pointwise_shapes, tally
from sagan.profiling.timing import Timing, summarise, time_in_turn, verdicts

ROOT = pathlib.Path(__file__).parents[2]


def test_timings_are_of_one_call_each_and_in_seconds():
    counts = dict.fromkeys("ab", 0)

    def make(name, seconds):
        def call():
            counts[name] += 1
            time.sleep(seconds)

        return call

    timings = time_in_turn({"a": make("a", 0.02), "b": make("b", 0.002)}, 5)
    assert timings["a"].samples == timings["b"].samples == 5
    assert 0.02 <= timings["a"].lower <= timings["a"].median
    assert 0.002 <= timings["b"].median < timings["a"].median
    assert counts["a"] == 2 + 5  # Warm-up, then one call a sample.
    assert counts["b"] > 2 + 5  # A sample lasts 10 ms.


def test_a_slow_function_gives_fewer_samples():
    calls = {
        "slow": lambda: time.sleep(0.03),
        "fast": lambda: time.sleep(0.003),
    }
    timings = time_in_turn(calls, 8, budget=0.1)
    assert timings["slow"].samples == 4
    assert timings["fast"].samples == 8
    assert time_in_turn(calls, 5, budget=0.0)["slow"].samples == 3


def test_summary_is_median_and_quartiles():
    assert summarise([5.0, 1.0, 2.0, 4.0, 3.0]) == Timing(3.0, 2.0, 4.0, 5)


def test_overlapping_intervals_are_a_tie():
    one, near, far = (
        Timing(1.0, 0.9, 1.1, 9),
        Timing(1.15, 1.05, 1.2, 9),
        Timing(2.0, 1.9, 2.1, 9),
    )
    assert verdicts({"one": one, "near": near, "far": far}) == {
        "one": "tie", "near": "tie", "far": "slower",
    }  # fmt: skip
    assert verdicts({"far": far, "one": one}) == {
        "far": "slower", "one": "fastest",
    }  # fmt: skip


def test_memory_growth_is_of_the_largest_sum_of_live_tensors():
    tensor = tf.ones([20_000_000])  # 80 MB

    @tf.function
    def call():
        return tf.reduce_sum(tf.sin(tensor) + tf.transpose(tf.cos(tensor)))

    for _ in range(2):  # The second time nothing is asked of the system.
        growth = peak_growth(call)
        if growth is None:
            pytest.skip("neither TensorFlow nor this system counts memory")
        assert 80e6 <= growth < 4 * 80e6


def test_growth_of_the_process_sees_a_large_array():
    growth = memory._resident_growth(lambda: np.ones(40_000_000, np.uint8))
    if growth is None:
        pytest.skip("this system does not tell a process's peak memory")
    assert 30_000_000 < growth < 100_000_000


def test_shapes_are_those_of_one_training_step():
    settings = {
        "image_size": 32,
        "base_channels": 4,
        "attention_resolutions": (16,),
    }
    shapes = pointwise_shapes(
        build_generator(**settings), build_discriminator(**settings), 2
    )
    # Three shortcuts before the up-sampling, and f, g, h, v.
    generator = {
        (2, 4, 4, 16, 16), (2, 8, 8, 16, 16), (2, 16, 16, 16, 16),
        (2, 16, 16, 16, 2), (2, 16, 16, 16, 8), (2, 16, 16, 8, 16),
    }  # fmt: skip
    discriminator = {
        (16, 3, 8), (16, 8, 1), (16, 8, 4), (16, 4, 8), (8, 8, 8),
    }  # fmt: skip
    assert shapes == {Shape(*sizes) for sizes in generator} | {
        Shape(batch, size, size, channels, filters)
        for size, channels, filters in discriminator
        for batch in (2, 4)
    }
    fused = pointwise_shapes(
        build_generator(**settings, fused_fgh=True),
        build_discriminator(**settings),
        2,
    )
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
        "sagan.profiling.pointwise.measure_ceilings",
        lambda dtype: type("Ceilings", (), {"gemm": 1e9, "copy": 1e9}),
    )
    shape = Shape(1, 2, 3, 4, 5)
    groups = list(
        benchmark(
            [shape], ["bfloat16"], ["eager", "function", "jit"], samples=3
        )
    )
    assert [(g[0]["mode"], g[0]["pass"]) for g in groups] == [
        (mode, direction)
        for mode in ("eager", "function", "jit")
        for direction in ("forward", "both")
    ]
    for group in groups:
        names = [row["implementation"] for row in group]
        assert names == list(IMPLEMENTATIONS)
        for row in group:
            backward = row["pass"] == "both"
            flops = shape.flops(backward) / row["median"]
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
    tables.write_table(
        same, _rows(1.0, names=("conv2d", "dense"), device="there")
    )
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


def test_a_tally_counts_verdicts_by_dtype_mode_and_pass():
    rows = [*_rows(1.0), *_rows(1.0), *_rows(1.0, mode="eager")]
    rows[0]["verdict"] = "fastest"
    lines = tally(rows)
    assert lines[0] == "float32 jit both"
    assert lines[1].split() == [
        "conv2d", "fastest", "1", "tie", "0", "slower", "1",
    ]  # fmt: skip
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


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--modes=", "--modes is ''"),
        ("--out=setup.py", "--out=setup.py cannot be used"),
        ("--batch_size=0", "not a positive"),
    ],
)
def test_bad_flags_get_one_clear_error(flag, message):
    result = subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_pointwise.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=1",
            flag,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_the_command_writes_a_table_and_a_plot(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_pointwise.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--batch_size=1",
            "--samples=3",
            "--implementations=conv2d,gemm",
            f"--out={tmp_path}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "float32 function both" in result.stdout
    rows = tables.read_table(tmp_path / "pointwise_synthetic.csv")
    assert {row["implementation"] for row in rows} == {"conv2d", "gemm"}
    assert (tmp_path / "pointwise_synthetic.png").stat().st_size > 5000
