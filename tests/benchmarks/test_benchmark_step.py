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
from sagan.benchmarks.step import constant_batch, make_step
from sagan.config import parse_config

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def step():
    parse_config(
        ["configs/synthetic.gin"], ["BASE_CHANNELS=2", "train.d_steps=2"]
    )
    made = make_step(batch_size=2, fused_resampling=False)
    gin.clear_config()
    return made


def test_a_step_is_that_of_the_config(step):
    assert (step.d_steps, step.batch_size) == (2, 2)
    assert int(step.gan.step) == 1
    assert not step.gan.generator.blocks[0].fused_resampling
    assert not step.gan.discriminator.blocks[0].conv2.fused
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


def test_the_command_compares_the_two_forms(tmp_path):
    result = subprocess.run(
        [
            sys.executable,
            "scripts/benchmark_step.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--batch_size=2",
            "--samples=3",
            "--compare=plain",
            "--with_data",
            f"--out={tmp_path}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert re.fullmatch(r"speedup over plain: \d+\.\d\d", last)
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        table = {(r["form"], r["call"]): r for r in csv.DictReader(file)}
    calls = ("D update", "G update", "step")
    expected = {(form, call) for form in ("merged", "plain") for call in calls}
    assert set(table) == expected | {("merged", "step with data")}
    for call in calls:
        merged, plain = (table[form, call] for form in ("merged", "plain"))
        assert float(merged["gflop"]) < float(plain["gflop"])
        assert float(merged["images_per_second"]) > 0
    assert (tmp_path / "step_synthetic.png").stat().st_size > 5000
