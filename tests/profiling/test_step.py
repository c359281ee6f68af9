"""The benchmark of a step times and counts what training runs."""

import csv
import dataclasses
import pathlib
import re
import subprocess
import sys

import gin
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.profiling.flops import graph_costs
from sagan.profiling.op_times import seconds_by_part
from sagan.profiling.step import bind_rewrites, constant_batch, make_step
from sagan.profiling.step_report import (
    PLAIN,
    REWRITTEN,
    WITH_DATA,
    WITHOUT_DATA,
    lines,
    measure,
    part_rows,
    rows,
    write,
)

FORMS = (REWRITTEN, PLAIN)
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def step():
    parse_config(
        ["configs/synthetic.gin"], ["BASE_CHANNELS=2", "train.d_steps=2"]
    )
    bind_rewrites({"fused_norm"})
    made = make_step(batch_size=2)
    gin.clear_config()
    return made


def test_a_step_is_that_of_the_config(step):
    assert (step.d_steps, step.batch_size) == (2, 2)
    assert int(step.gan.step) == 1
    block = step.gan.generator.blocks[0]
    assert block.norm1.fused
    assert not block.conv1.fused
    assert not block.low_resolution_shortcut
    assert not step.gan.discriminator.blocks[0].conv2.fused
    assert not step.gan.joint_batch
    before = int(step.gan.d_optimizer.iterations)
    step.calls["step"]()
    assert int(step.gan.step) == 2
    assert int(step.gan.d_optimizer.iterations) == before + 2


def test_work_of_a_step_is_that_of_its_updates(step):
    """As counted from the calls in the graph of the whole step."""
    images, labels = constant_batch(step.gan, 2, 2)
    graph = step.gan.train_step.get_concrete_function(images, labels).graph
    calls = [
        graph._get_function(op.get_attr("f").name)
        for op in graph.get_operations()
        if op.type.endswith("PartitionedCall")
    ]
    assert len(calls) == 3  # Two D updates and one of G.
    flops = sum(cost.flops for call in calls for cost in graph_costs(call))
    average = sum(cost.flops for cost in step.costs["moving average"])
    assert average > 0
    assert sum(c.flops for c in step.step_costs) == flops + average


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


@pytest.fixture(scope="module")
def report():
    made = measure(
        ["configs/synthetic.gin"],
        ["BASE_CHANNELS=2"],
        batch_size=2,
        compare=PLAIN,
        data=True,
        data_dir=None,
        samples=3,
    )
    gin.clear_config()
    return made


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
    plain = report.steps[PLAIN].gan
    assert not plain.generator.norm.fused
    assert not plain.joint_batch


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
    write(tmp_path / "step.csv", unknown, "title")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".png"]


def benchmark(*arguments):
    return subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_step.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--batch_size=2",
            "--samples=3",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_names_the_forms_it_can_compare_with():
    result = benchmark("--compare=fused_nrom")
    assert result.returncode == 1
    assert "--compare has 'fused_nrom'" in result.stderr
    assert "plain, fused_resampling" in result.stderr


def test_the_command_compares_with_the_form_without_a_rewrite(tmp_path):
    result = benchmark("--compare=fused_norm", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    text = result.stdout.splitlines()
    last = r"speedup over the form without fused_norm: \d+\.\d\d"
    assert re.fullmatch(last, text[-1])
    assert sum("3x3 convolutions at " in line for line in text) == 2
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        forms = {row["form"] for row in csv.DictReader(file)}
    assert forms == {"rewritten", "without fused_norm"}
    assert (tmp_path / "step_synthetic_parts.csv").is_file()
    assert (tmp_path / "step_synthetic.png").stat().st_size > 5000
