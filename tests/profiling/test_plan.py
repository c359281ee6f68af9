"""What a config is said to cost, against counts and sums by hand."""

import gin
import pytest
import tensorflow as tf
from tiny_gan import make_gan

import sagan.training.train  # noqa: F401  What configs bind.
from sagan.config import parse_config
from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.profiling.flops import OpCost
from sagan.profiling.layer_table import REST, layer_costs
from sagan.profiling.memory import Memory, fit_memory, peak_bytes
from sagan.profiling.plan import Plan, Run, allreduce_seconds, config_run
from sagan.profiling.rates import (
    Ceilings,
    Convolution,
    Rates,
    given_rates,
    heaviest_convolution,
)
from sagan.profiling.step import step_peak, step_updates, trace_step

SETTINGS = {
    "image_size": 32,
    "base_channels": 16,
    "num_classes": 3,
    "attention_resolutions": (16,),
}


def rows(build=build_generator, **settings):
    return {row.name: row for row in layer_costs(build(**SETTINGS | settings))}


@pytest.fixture(scope="module")
def generator_rows():
    return (
        rows(fused_resampling=False, low_resolution_shortcut=False),
        rows(),
    )


@pytest.fixture(scope="module")
def traced():
    """A small GAN and its step for 2, 4 and 8 images."""
    gan = make_gan(attention_resolutions=())  # Quicker to trace.
    return gan, {batch: trace_step(gan, batch) for batch in (2, 4, 8)}


@pytest.mark.parametrize(
    ("build", "parameters"),
    [(build_generator, 42_078_852), (build_discriminator, 39_463_618)],
)
def test_parameters_add_up_to_those_of_the_released_network(build, parameters):
    network = build(image_size=128, num_classes=1000)
    assert sum(row.parameters for row in layer_costs(network)) == parameters


def test_multiply_adds_are_those_counted_by_hand(generator_rows):
    plain, merged = generator_rows
    for table in generator_rows:
        conv = table["blocks[1].conv2"]
        assert conv.shape == (16, 16, 64)
        assert conv.parameters == 9 * 64 * 64 + 64
        assert conv.multiply_adds == 16 * 16 * 64 * 9 * 64
        # Queries times keys, pooled, and the map times the values.
        block = table["attentions[2]"]
        assert block.multiply_adds == 256 * 64 * (64 // 8 + 64 // 2)
        assert block.parameters == 1
        assert table["attentions[2].f"].parameters == 64 * 8
        assert table["dense"].multiply_adds == 128 * 4 * 4 * 64
        assert table[REST].multiply_adds == 0
    once = 8 * 8 * 64 * 64
    assert plain["blocks[0].conv1"].multiply_adds == 9 * once
    assert merged["blocks[0].conv1"].multiply_adds == 4 * once
    assert plain["blocks[0].shortcut"].multiply_adds == once
    assert merged["blocks[0].shortcut"].multiply_adds == once / 4


def test_bytes_are_those_of_what_a_layer_makes(generator_rows):
    _, merged = generator_rows
    # The product, and the sum with the bias.
    assert merged["conv"].activation_bytes == 2 * 4 * 32 * 32 * 3
    half = rows(precision="mixed_bfloat16")
    assert half["conv"].activation_bytes == 2 * 2 * 32 * 32 * 3


def test_merged_layers_are_less_work_and_the_same_weights(generator_rows):
    plain, merged = generator_rows
    assert plain.keys() == merged.keys()
    for name, row in merged.items():
        assert row.multiply_adds <= plain[name].multiply_adds
        assert row.parameters == plain[name].parameters
        assert row.is_pointwise == (
            name.endswith(("shortcut", ".f", ".g", ".h", ".v"))
        )
    total = [sum(r.multiply_adds for r in t.values()) for t in generator_rows]
    assert 4 / 9 < total[1] / total[0] < 0.8


def test_memory_is_held_from_the_first_to_the_last_use():
    def function(a):
        b = tf.sin(a)  # a b
        c = tf.cos(b)  # a b c
        d = tf.reshape(c, [-1]) + 1.0  # a b c d: the most
        return tf.reduce_sum(d) + tf.reduce_sum(b)

    concrete = tf.function(function).get_concrete_function(
        tf.TensorSpec([10, 100])
    )
    # The argument is let go after its only use.
    assert 3 * 4000 <= peak_bytes(concrete) < 3 * 4000 + 100


def test_memory_grows_linearly_with_the_batch(traced):
    gan, functions = traced
    peaks = {batch: step_peak(functions[batch]) for batch in functions}
    assert peaks[2] < peaks[4] < peaks[8]
    memory = fit_memory(gan, {batch: peaks[batch] for batch in (2, 4)})
    weights = memory.weights + memory.optimizer
    assert memory.total(8) == pytest.approx(weights + peaks[8], rel=0.02)
    # Two moments for each weight of a network that learns, and few scalars.
    learnt = sum(
        4 * sum(v.value.shape.num_elements() for v in n.trainable_variables)
        for n in (gan.generator, gan.discriminator)
    )
    assert 2 * learnt < memory.optimizer < 2 * learnt + 100


def test_largest_batch_fits_and_one_more_does_not():
    memory = Memory(weights=100, optimizer=50, fixed=25.0, per_image=10.0)
    for limit in (195.0, 200.0, 204.0):
        batch = memory.largest_batch(limit)
        assert memory.total(batch) <= limit < memory.total(batch + 1)
    assert memory.largest_batch(180.0) == 0


def test_an_operation_takes_the_slower_of_computing_and_moving():
    ceilings = Ceilings(
        conv=10.0,
        input_gradient=20.0,
        filter_gradient=40.0,
        gemm=80.0,
        copy=5.0,
    )
    rates = Rates(ceilings, start=1.0)

    def seconds(kind, flops, size):
        return rates.seconds(OpCost("name", kind, "other", flops, size))

    assert seconds("Conv2D", 400, 0) == 1 + 40
    assert seconds("Conv2DBackpropInput", 400, 0) == 1 + 20
    assert seconds("Conv2DBackpropFilter", 400, 0) == 1 + 10
    assert seconds("MatMul", 400, 10) == 1 + 5
    assert seconds("MatMul", 400, 100) == 1 + 20
    assert seconds("Relu", 0, 5) == 1 + 1


def test_rates_are_measured_at_the_heaviest_convolution(traced):
    _, functions = traced
    # Both of its last blocks are 8 wide at 32x32; the images have 3 channels.
    shape = heaviest_convolution(functions[4])
    assert shape == Convolution((4, 32, 32, 8), 8)
    assert shape.flops == 2 * 9 * 4 * 32 * 32 * 8 * 8


def test_gradients_go_around_the_ring_twice():
    assert allreduce_seconds(size=1000, devices=4, bandwidth=100.0) == 15.0
    assert allreduce_seconds(size=1000, devices=1, bandwidth=100.0) == 0.0


def test_more_devices_take_fewer_days_and_more_device_hours(traced):
    gan, functions = traced
    run = Run(batch_size=8, d_steps=2, num_steps=1000)
    memory = Memory(1, 1, 1.0, 1.0)
    rates = given_rates(flops=1e9, copy=1e9)
    one, four = (
        Plan(
            run,
            step_updates(gan, functions[8 // devices], run.d_steps),
            memory,
            rates,
            devices,
            allreduce=1e8,
        )
        for devices in (1, 4)
    )
    assert one.communicating == 0
    d_bytes, g_bytes = (
        4 * sum(v.value.shape.num_elements() for v in n.trainable_variables)
        for n in (gan.discriminator, gan.generator)
    )
    ring = 2 * 3 / 4 / 1e8
    assert four.communicating == pytest.approx(ring * (2 * d_bytes + g_bytes))
    assert one.days == pytest.approx(1000 * one.computing / 86400)
    assert one.days / 4 < four.days < one.days
    assert four.device_hours == pytest.approx(4 * 24 * four.days)
    assert four.device_hours > one.device_hours
    d_update, g_update, ema = (
        sum(map(rates.seconds, u.costs)) for u in one.updates
    )
    assert one.step == pytest.approx(2 * d_update + g_update + ema)


def test_a_run_is_what_the_config_says():
    parse_config(["configs/cifar10.gin"], ["BATCH_SIZE=48"])
    run = config_run()
    assert run == Run(batch_size=48, d_steps=5, num_steps=100_000)
    assert run.batch_on_each(3) == 16
    with pytest.raises(ValueError, match="batch of 48 .* --devices=5"):
        run.batch_on_each(5)
    with gin.unlock_config():
        gin.bind_parameter("train.d_steps", 0)
    with pytest.raises(ValueError, match="train.d_steps is 0"):
        config_run()
