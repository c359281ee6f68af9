"""What the benchmarks measure, and that they call a tie a tie."""

import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from sagan.benchmarks import memory, tables
from sagan.benchmarks.memory import peak_growth
from sagan.benchmarks.pointwise import benchmark
from sagan.benchmarks.shapes import Shape, pointwise_shapes
from sagan.benchmarks.timing import Timing, summarise, time_in_turn, verdicts
from sagan.builders import build_discriminator, build_generator
from sagan.layers.pointwise import IMPLEMENTATIONS

ROOT = pathlib.Path(__file__).parent.parent


def test_timings_are_of_one_call_each_and_in_seconds():
    counts = dict.fromkeys("ab", 0)

    def make(name, seconds):
        def call():
            counts[name] += 1
            time.sleep(seconds)
            return ()

        return call

    timings = time_in_turn({"a": make("a", 0.02), "b": make("b", 0.002)}, 5)
    assert timings["a"].samples == timings["b"].samples == 5
    assert 0.02 <= timings["a"].lower <= timings["a"].median
    assert 0.002 <= timings["b"].median < timings["a"].median
    assert counts["a"] == 2 + 5  # Warm-up, then one call a sample.


def test_a_slow_function_gives_fewer_samples():
    calls = {
        "slow": lambda: time.sleep(0.03) or (),
        "fast": lambda: time.sleep(0.003) or (),
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
    # The generator runs twice: three shortcuts before the up-sampling, and
    # f, g, h, v. The discriminator runs on 2 and on 4 images.
    generator = {
        (2, 4, 4, 16, 16): 2, (2, 8, 8, 16, 16): 2, (2, 16, 16, 16, 16): 2,
        (2, 16, 16, 16, 2): 4, (2, 16, 16, 16, 8): 2, (2, 16, 16, 8, 16): 2,
    }  # fmt: skip
    discriminator = {
        (16, 3, 8): 1, (16, 8, 1): 2, (16, 8, 4): 1, (16, 4, 8): 1,
        (8, 8, 8): 1,
    }  # fmt: skip
    expected = {Shape(*key): count for key, count in generator.items()}
    for batch in (2, 4):
        for (size, channels, filters), count in discriminator.items():
            shape = Shape(batch, size, size, channels, filters)
            expected[shape] = expected.get(shape, 0) + count
    assert shapes == expected


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
        "sagan.benchmarks.pointwise.measure_ceilings",
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


def _rows(scale):
    return [
        {
            "shape": "s", "dtype": "float32", "mode": "jit", "pass": "both",
            "implementation": name, "median": seconds * scale,
            "lower": 0.9 * seconds * scale, "upper": 1.1 * seconds * scale,
        }
        for name, seconds in (("conv2d", 1.0), ("gemm", 0.5))
    ]  # fmt: skip


def test_tables_are_compared_line_by_line(tmp_path):
    before, after, same = (tmp_path / f"{name}.csv" for name in "abc")
    tables.write_table(before, _rows(1.0))
    tables.write_table(after, _rows(0.5))
    tables.write_table(same, _rows(1.05))
    faster = tables.compare(before, after)
    assert len(faster) == 2
    assert all(line.endswith("2.00x as fast") for line in faster)
    assert all(line.endswith("tie") for line in tables.compare(before, same))
    with pytest.raises(ValueError, match=r"no table .*nowhere.csv"):
        tables.compare(before, tmp_path / "nowhere.csv")
    after.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column .*median"):
        tables.compare(before, after)


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
