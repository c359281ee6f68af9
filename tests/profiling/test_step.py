"""The benchmark of a step times and counts what training runs."""

import csv
import dataclasses
import pathlib
import subprocess
import sys

import gin
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.profiling import rates, step_benchmark
from sagan.profiling.flops import graph_costs
from sagan.profiling.op_times import seconds_by_part
from sagan.profiling.step import REWRITES, bind_rewrites, constant_batch
from sagan.profiling.step_benchmark import (
    PLAIN,
    REWRITTEN,
    WITH_DATA,
    WITHOUT_DATA,
    measure,
)
from sagan.profiling.step_report import lines, part_rows, rows, write

FORMS = (REWRITTEN, PLAIN)
CONFIG = "configs/synthetic.gin"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report():
    """Two D updates a step; small ceilings and short runs of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "MATRIX_SIDE", 256)
        patch.setattr(rates, "COPIED_BYTES", 8_000_000)
        patch.setattr(step_benchmark, "_INPUT_SECONDS", 0.0)
        return measure(
            [CONFIG],
            [
                "BASE_CHANNELS=2",
                "train.d_steps=2",
                "make_dataset.num_examples=64",
            ],
            batch_size=2,
            compare=PLAIN,
            data=True,
            data_dir=None,
            samples=3,
        )


def test_a_step_is_that_of_the_config(report):
    for form, rewritten in zip(FORMS, (True, False), strict=True):
        step = report.steps[form]
        assert (step.d_steps, step.batch_size) == (2, 2)
        block = step.gan.generator.blocks[0]
        assert block.norm1.fused == rewritten
        assert block.conv1.fused == rewritten
        assert block.low_resolution_shortcut == rewritten
        assert step.gan.discriminator.blocks[0].conv2.fused == rewritten
        assert step.gan.joint_batch == rewritten
    steps, updates = int(step.gan.step), int(step.gan.d_optimizer.iterations)
    step.calls["step"]()
    assert int(step.gan.step) == steps + 1
    assert int(step.gan.d_optimizer.iterations) == updates + 2


def test_a_form_leaves_out_the_rewrite_of_its_name():
    forms = step_benchmark._forms("fused_norm")
    assert list(forms) == [REWRITTEN, "without fused_norm"]
    parse_config([CONFIG])
    bind_rewrites(forms["without fused_norm"])
    for name, functions in REWRITES.items():
        for function in functions:
            bound = gin.query_parameter(f"{function}.{name}")
            assert bound == (name != "fused_norm")


def test_work_of_a_step_is_that_of_its_updates(report):
    """As counted from the calls in the graph of the whole step."""
    step = report.steps[REWRITTEN]
    images, labels = constant_batch(step.gan, 2, 2)
    graph = step.gan.train_step.get_concrete_function(images, labels).graph
    calls = [
        graph._get_function(op.get_attr("f").name)
        for op in graph.get_operations()
        if op.type.endswith("PartitionedCall")
    ]
    assert len(calls) == 3  # Two D updates and one of G.
    flops = sum(cost.flops for call in calls for cost in graph_costs(call))
    average = step.updates[-1].flops
    assert average > 0
    assert step.work("step") == (2 * 2, flops + average)
    assert sum(cost.flops for cost in step.costs) == flops + average


def test_the_profile_tells_parts_apart():
    matrix = tf.random.stateless_normal([1000, 1000], [0, 0])

    @tf.function
    def call():
        with tf.name_scope("attention_16"):
            large = tf.matmul(tf.matmul(matrix, matrix), matrix)
        with tf.name_scope("batch_norm_1"):
            return tf.reduce_sum(large) + tf.reduce_sum(matrix)

    call()
    seconds = seconds_by_part(call)
    attention, norm = seconds["attention map"], seconds["batch norm"]
    assert attention.products > norm.rest > 0
    assert norm.products == 0
    assert attention.total == attention.products + attention.rest
    assert "optimizer" not in seconds


def test_both_forms_are_measured_in_every_call(report):
    table = {(row["form"], row["call"]): row for row in rows(report)}
    calls = ("D update", "G update", "step")
    expected = {(form, call) for form in FORMS for call in calls}
    with_data = {(REWRITTEN, WITH_DATA), (REWRITTEN, WITHOUT_DATA)}
    assert set(table) == expected | with_data
    for call in calls:
        rewritten, plain = (table[form, call] for form in FORMS)
        assert rewritten["gflop"] < plain["gflop"]
        for row in (rewritten, plain):
            assert row["lower"] <= row["median"] <= row["upper"]
            assert row["share_of_conv"] > 0
            assert row["peak_bytes"] is None or row["peak_bytes"] >= 0
            assert row["first_step_seconds"] > row["trace_seconds"] > 0
            assert row["compile_seconds"] >= 0


def test_parts_share_out_a_step(report):
    for form in FORMS:
        mine = [row for row in part_rows(report) if row["form"] == form]
        assert 0.3 < sum(row["share"] for row in mine) < 1.0 + 1e-6
        step = report.timings[form, "step"].median
        for row in mine:
            assert row["seconds"] == pytest.approx(row["share"] * step)
            assert row["product_share"] <= row["share"] + 1e-9
            # Work that is counted is work that was seen.
            assert (row["gflop"] > 0) <= (row["product_share"] > 0)


def test_a_step_whose_parts_are_unknown_is_reported_all_the_same(
    report, tmp_path
):
    """As under XLA, where a profile does not name operations."""
    unknown = dataclasses.replace(report, seconds=dict.fromkeys(FORMS, {}))
    text = lines(unknown)
    assert sum("cannot be told apart" in line for line in text) == 2
    assert text[-1].startswith("speedup over plain: ")
    assert any(line.startswith("throughput with data: ") for line in text)
    write(tmp_path / "step.csv", unknown, "title")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".png"]


def test_the_last_line_names_the_form_without_a_rewrite(report):
    form = "without fused_norm"
    steps = {REWRITTEN: report.steps[REWRITTEN], form: report.steps[PLAIN]}
    timings = {
        (form if name == PLAIN else name, call): timing
        for (name, call), timing in report.timings.items()
    }
    text = lines(
        dataclasses.replace(report, steps=steps, timings=timings, seconds={})
    )
    before, after = (timings[name, "step"] for name in (form, REWRITTEN))
    ratio = f"{before.median / after.median:.2f}"
    assert text[-1] == f"speedup over the form without fused_norm: {ratio}"
    tie = "The quartiles of the two steps overlap: a tie."
    assert (tie in text) == before.overlaps(after)


def test_the_command_writes_tables_and_a_figure(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_step.py",
            f"--gin_config={CONFIG}",
            "--gin_bindings=BASE_CHANNELS=2",
            "--gin_bindings=ATTENTION_RESOLUTIONS=()",
            "--batch_size=2",
            "--samples=3",
            f"--out={tmp_path}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    text = result.stdout.splitlines()
    assert sum("3x3 convolutions at " in line for line in text) == 1
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        assert {row["form"] for row in csv.DictReader(file)} == {"config"}
    assert (tmp_path / "step_synthetic_parts.csv").is_file()
    assert (tmp_path / "step_synthetic.png").stat().st_size > 5000
