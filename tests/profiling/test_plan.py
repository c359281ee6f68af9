"""What a config is said to cost, against counts and sums by hand."""

import gin
import pytest
import tensorflow as tf
from tiny_gan import make_gan

import sagan.training.train  # noqa: F401  Registers what configs bind.
from sagan.config import parse_config
from sagan.profiling import plan_report
from sagan.profiling.flops import OpCost
from sagan.profiling.memory import Memory, fit_memory, peak_bytes
from sagan.profiling.plan import (
    Options,
    Plan,
    Run,
    allreduce_seconds,
    config_run,
)
from sagan.profiling.plan_report import memory_lines, run_lines
from sagan.profiling.rates import (
    Ceilings,
    Rates,
    convolution,
    given_rates,
    heaviest_convolution,
)
from sagan.profiling.step import (
    Update,
    step_peak,
    step_updates,
    trace_updates,
)


@pytest.fixture(scope="module")
def traced():
    """A small GAN and its updates for 4 images."""
    gan = make_gan(attention_resolutions=())  # Quicker to trace.
    return gan, trace_updates(gan, 4)


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
    assert step_peak(functions) == max(map(peak_bytes, functions))
    peaks = {4: peak_bytes(functions[1])}
    for batch in (2, 8):
        labels = tf.TensorSpec([batch], tf.int32)
        update = gan.update_generator.get_concrete_function(
            tf.TensorSpec([batch, gan.generator.latent_dim]), labels
        )
        peaks[batch] = peak_bytes(update)
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
    plan = Plan(Run(4, 1, 10), [], memory, given_rates(1e9, 1e9))
    assert memory_lines(plan, 204.0)[-1].endswith(": 2 a device")
    assert memory_lines(plan, 180.0)[-1].endswith("not even one image fits")


def test_an_operation_takes_the_slower_of_computing_and_moving():
    ceilings = Ceilings(80.0, 10.0, 20.0, 40.0, 5.0)  # Products first.
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
    # Both of its last blocks are 8 wide at 32x32; the images have 3 channels.
    shape = heaviest_convolution(traced[1])
    assert shape == convolution("float32", (4, 32, 32, 8), 8)
    assert shape.work == 9 * 4 * 32 * 32 * 8 * 8


def test_gradients_go_around_the_ring_twice():
    assert allreduce_seconds(size=1000, devices=4, bandwidth=100.0) == 15.0
    assert allreduce_seconds(size=1000, devices=1, bandwidth=100.0) == 0.0


def test_updates_of_a_step_have_its_gradients(traced):
    gan, functions = traced
    d_update, g_update, average = step_updates(gan, functions, d_steps=3)
    assert [u.times for u in (d_update, g_update, average)] == [3, 1, 1]
    for update, network in (
        (d_update, gan.discriminator),
        (g_update, gan.generator),
    ):
        assert update.flops > average.flops
        assert update.gradient_bytes == 4 * sum(
            v.value.shape.num_elements() for v in network.trainable_variables
        )
    assert average.gradient_bytes == 0


def test_more_devices_take_fewer_days_and_more_device_hours():
    def update(name, times, flops, gradient_bytes):
        costs = [OpCost("conv", "Conv2D", "3x3 convolutions", flops, 0)]
        return Update(name, times, costs, gradient_bytes)

    def plan(devices):
        share = 8 // devices
        updates = [
            update("discriminator update", 2, 10**9 * share, 10**6),
            update("generator update", 1, 10**9 * share, 2 * 10**6),
            update("moving average", 1, 10**6, 0),
        ]
        rates = given_rates(flops=1e9, copy=1e9)
        run = Run(batch_size=8, d_steps=2, num_steps=1000)
        memory = Memory(1, 1, 1.0, 1.0)
        return Plan(run, updates, memory, rates, devices, allreduce=1e8)

    one, four = plan(1), plan(4)
    start = one.rates.start
    assert one.communicating == 0
    assert one.step == pytest.approx(8 * (2 + 1) + 1e-3 + 4 * start)
    ring = 2 * 3 / 4 / 1e8
    assert four.communicating == pytest.approx(ring * (2 * 10**6 + 2 * 10**6))
    assert four.step == pytest.approx(four.computing + four.communicating)
    assert one.days == pytest.approx(1000 * one.step / 86400)
    assert one.days / 4 < four.days < one.days
    assert four.device_hours == pytest.approx(4 * 24 * four.days)
    assert four.device_hours > one.device_hours
    head, allreduce, *rest = run_lines(four)
    assert head.startswith("Run: 1,000 steps of 2 + 1 updates, batch 8, on 4")
    assert allreduce.startswith("  All-reduce: ")
    assert len(rest) == 2
    assert "device-hours" in rest[-1]
    assert len(run_lines(one)) == 3


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "--devices is 0"),
        ({"memory": -1.0}, "--memory is -1"),
        ({"gflops": 0.0, "bandwidth": 1.0}, "--gflops is 0"),
        ({"gflops": float("nan"), "bandwidth": 1.0}, "--gflops is nan"),
        ({"gflops": 1.0}, "give both"),
        ({"devices": 2}, "--allreduce .* is needed"),
        ({"allreduce": 1.0}, "--devices is 1"),
        (
            {"measure": True, "gflops": 1.0, "bandwidth": 1.0},
            "--measure runs steps",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)


def test_a_device_may_be_given_instead_of_measured():
    options = Options(gflops=100.0, bandwidth=20.0)
    device, rates, seconds = plan_report._device(options, [], None)
    assert (device, seconds) == ("as given", None)
    assert rates == given_rates(flops=1e11, copy=2e10)
