"""The benchmark of a step times and counts what training runs."""

import dataclasses

import gin
import pytest
import tensorflow as tf

from sagan.config import parse_config
from sagan.profiling import rates, step_benchmark
from sagan.profiling.flops import graph_costs
from sagan.profiling.op_times import PartSeconds, seconds_by_part
from sagan.profiling.step import REWRITES, bind_rewrites, constant_batch
from sagan.profiling.step_benchmark import (
    CONFIG,
    PLAIN,
    REWRITTEN,
    WITH_DATA,
    WITHOUT_DATA,
    measure,
)
from sagan.profiling.step_report import lines, part_rows, rows, write
from sagan.profiling.timing import Timing

BINDINGS = (
    "BASE_CHANNELS=2",
    "ATTENTION_RESOLUTIONS=()",
    "make_dataset.num_examples=64",
    "train.d_steps=2",
    "train.joint_batch=False",
    "build_generator.fused_norm=True",
    "build_generator.fused_resampling=False",
    "build_generator.low_resolution_shortcut=False",
    "build_discriminator.fused_resampling=False",
)
FORMS = (REWRITTEN, "without fused_norm")


@pytest.fixture(scope="module")
def report():
    """Of the form of the config; small ceilings and short runs of steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "MATRIX_SIDE", 256)
        patch.setattr(rates, "COPIED_BYTES", 8_000_000)
        patch.setattr(step_benchmark, "_INPUT_SECONDS", 0.0)
        return measure(
            ["configs/synthetic.gin"],
            BINDINGS,
            batch_size=2,
            compare=None,
            data=True,
            data_dir=None,
            samples=3,
        )


@pytest.fixture
def two_forms(report):
    """The same, as if there were two forms, the second twice as slow."""
    mine = {key: t for key, t in report.timings.items() if key[1] == "step"}
    slow = {
        (FORMS[1], call): Timing(2 * t.median, 2 * t.lower, 2 * t.upper, 3)
        for (_, call), t in mine.items()
    }
    fast = {(FORMS[0], call): t for (_, call), t in report.timings.items()}
    return dataclasses.replace(
        report,
        steps=dict.fromkeys(FORMS, report.steps[CONFIG]),
        timings=fast | slow,
        seconds=dict.fromkeys(FORMS, {}),
    )


def test_a_step_is_that_of_the_config(report):
    step = report.steps[CONFIG]
    assert (step.d_steps, step.batch_size) == (2, 2)
    block = step.gan.generator.blocks[0]
    assert block.norm1.fused
    assert not block.conv1.fused
    assert not block.low_resolution_shortcut
    assert not step.gan.discriminator.blocks[0].conv2.fused
    assert step.gan.discriminator.blocks[1].pool_first
    assert not step.gan.joint_batch
    steps, updates = int(step.gan.step), int(step.gan.d_optimizer.iterations)
    step.calls["step"]()
    assert int(step.gan.step) == steps + 1
    assert int(step.gan.d_optimizer.iterations) == updates + 2


@pytest.mark.parametrize(
    ("compare", "name", "left_out"),
    [
        ("fused_norm", "without fused_norm", {"fused_norm"}),
        (PLAIN, PLAIN, set(REWRITES)),
    ],
)
def test_a_form_leaves_out_rewrites(compare, name, left_out):
    forms = step_benchmark._forms(compare)
    assert list(forms) == [REWRITTEN, name]
    parse_config(["configs/synthetic.gin"])
    for form, without in ((REWRITTEN, set()), (name, left_out)):
        bind_rewrites(forms[form])
        for rewrite, functions in REWRITES.items():
            for function in functions:
                bound = gin.query_parameter(f"{function}.{rewrite}")
                assert bound == (rewrite not in without)


def test_work_of_a_step_is_that_of_its_updates(report):
    """As counted from the calls in the graph of the whole step."""
    step = report.steps[CONFIG]
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


def test_every_call_is_measured(report):
    table = {row["call"]: row for row in rows(report)}
    calls = ("D update", "G update", "step", WITH_DATA, WITHOUT_DATA)
    assert tuple(table) == calls
    d_update, g_update, step, *others = table.values()
    assert step["gflop"] > 2 * d_update["gflop"] + g_update["gflop"]
    assert all(row["gflop"] == step["gflop"] for row in others)
    for row in table.values():
        assert row["form"] == CONFIG
        assert row["lower"] <= row["median"] <= row["upper"]
        assert row["share_of_conv"] > 0
        assert row["peak_bytes"] is None or row["peak_bytes"] >= 0
        assert row["first_step_seconds"] > row["trace_seconds"] > 0
        assert row["compile_seconds"] >= 0


def test_parts_are_seen_where_work_is_counted(report):
    table = part_rows(report)
    assert 0.3 < sum(row["share"] for row in table) < 1.0 + 1e-6
    for row in table:
        assert row["product_share"] <= row["share"] + 1e-9
        assert (row["gflop"] > 0) <= (row["product_share"] > 0)


@pytest.mark.parametrize(("step", "whole"), [(1.0, 1.5), (2.0, 2.0)])
def test_seconds_of_parts_are_those_of_their_operations(report, step, whole):
    """Whether they overlap and exceed the step's, or do not fill it."""
    seconds = {
        "3x3 convolutions": PartSeconds(products=0.8, rest=0.2),
        "batch norm": PartSeconds(rest=0.5),
    }
    timings = {(CONFIG, "step"): Timing(step, step, step, 3)}
    convolutions, norm = part_rows(
        dataclasses.replace(report, seconds={CONFIG: seconds}, timings=timings)
    )
    assert convolutions["operation_seconds"] == 1.0
    assert convolutions["share"] == pytest.approx(1.0 / whole)
    assert convolutions["product_share"] == pytest.approx(0.8 / whole)
    assert convolutions["gflops"] == pytest.approx(convolutions["gflop"] / 0.8)
    assert convolutions["gflop"] > 0
    assert norm["operation_seconds"] == 0.5
    assert norm["gflop"] == norm["gflops"] == 0


def test_two_forms_are_compared_also_where_parts_are_unknown(
    two_forms, tmp_path
):
    """As under XLA, where a profile does not name operations."""
    text = lines(two_forms)
    assert sum("cannot be told apart" in line for line in text) == 2
    assert any(line.startswith("throughput with data: ") for line in text)
    gan = two_forms.steps[FORMS[0]].gan
    count = sum(v.numpy().size for v in gan.generator.trainable_variables)
    for form in FORMS:
        median = two_forms.timings[form, "step"].median
        start = f"{form}: {median:.3f} seconds a step, batch 2, 2 D + 1 G, "
        (line,) = (line for line in text if line.startswith(start))
        assert f"float32, parameters G {count:,} D " in line
    assert text[-1] == "speedup over the form without fused_norm: 2.00"
    before, after = (two_forms.timings[form, "step"] for form in FORMS)
    tie = "The quartiles of the two steps overlap: a tie."
    assert (tie in text) == before.overlaps(after)
    write(tmp_path / "step.csv", two_forms, "title")
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".png"]
