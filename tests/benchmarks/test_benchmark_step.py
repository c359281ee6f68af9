"""The benchmark of a step times and counts what training runs."""

import csv
import pathlib
import re
import subprocess
import sys

import gin
import pytest
import tensorflow as tf

from sagan.benchmarks.graph_cost import graph_costs
from sagan.benchmarks.profile import seconds_by_part
from sagan.benchmarks.step import bind_rewrites, constant_batch, make_step
from sagan.benchmarks.step_report import (
    PLAIN,
    REWRITTEN,
    WITH_DATA,
    WITHOUT_DATA,
)
from sagan.config import parse_config

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
    assert seconds["attention map"] > seconds["batch norm"] > 0
    assert "optimizer" not in seconds


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


def test_the_command_compares_the_two_forms(tmp_path):
    result = benchmark("--compare=plain", "--with_data", f"--out={tmp_path}")
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"speedup over plain: \d+\.\d\d", last)
    assert re.search(r"throughput with data: \d+\.\d%", result.stdout)
    assert len(re.findall("3x3 convolutions at .*%", result.stdout)) == 2
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        table = {(r["form"], r["call"]): r for r in csv.DictReader(file)}
    calls = ("D update", "G update", "step")
    expected = {(form, call) for form in FORMS for call in calls}
    with_data = {(FORMS[0], WITH_DATA), (FORMS[0], WITHOUT_DATA)}
    assert set(table) == expected | with_data
    for call in calls:
        rewritten, plain = (table[form, call] for form in FORMS)
        assert float(rewritten["gflop"]) < float(plain["gflop"])
        assert float(rewritten["images_per_second"]) > 0
        assert float(rewritten["peak_bytes"]) >= 0
    with (tmp_path / "step_synthetic_parts.csv").open(newline="") as file:
        parts = list(csv.DictReader(file))
    for form in FORMS:
        mine = [float(row["share"]) for row in parts if row["form"] == form]
        assert sum(mine) == pytest.approx(1.0, abs=1e-3)
    assert (tmp_path / "step_synthetic.png").stat().st_size > 5000
