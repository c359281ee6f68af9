"""FLOPs counted from a graph equal those counted by hand."""

import pytest
import tensorflow as tf
from tiny_gan import make_gan

from sagan.layers.depthwise import depthwise_conv
from sagan.layers.pointwise import IMPLEMENTATIONS
from sagan.profiling.flops import PARTS, flops_by_part, graph_costs, part_of
from sagan.profiling.step import trace_updates

PLAIN_IN_BLOCKS = {
    "fused_resampling": False,
    "low_resolution_shortcut": False,
    "query_block": 64,
}


def flops(function, *sizes):
    concrete = tf.function(function, autograph=False).get_concrete_function(
        *(tf.TensorSpec(size) for size in sizes)
    )
    return sum(cost.flops for cost in graph_costs(concrete))


def with_gradients(function):
    def run(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            outputs = function(*arguments)
        return outputs, tape.gradient(outputs, arguments)

    return run


def test_a_convolution_and_its_gradients_are_three_times_the_work():
    def convolve(images, kernel):
        return tf.nn.conv2d(images, kernel, strides=2, padding="SAME")

    sizes = (2, 8, 6, 5), (3, 3, 5, 7)
    once = 2 * (2 * 4 * 3 * 7) * (3 * 3 * 5)
    assert flops(convolve, *sizes) == once
    assert flops(with_gradients(convolve), *sizes) == 3 * once


def test_a_transposed_convolution_counts_a_patch_for_each_input_pixel():
    def convolve(images, kernel):
        return tf.nn.conv2d_transpose(images, kernel, [2, 8, 6, 7], 2)

    sizes = (2, 4, 3, 5), (4, 4, 7, 5)
    once = 2 * (2 * 4 * 3 * 5) * (4 * 4 * 7)
    assert flops(convolve, *sizes) == once
    assert flops(with_gradients(convolve), *sizes) == 3 * once


def test_a_depthwise_convolution_counts_a_window_for_each_output():
    sizes = (2, 4, 3, 5), (3, 3, 1, 5)
    once = 2 * (2 * 4 * 3 * 5) * 9
    assert flops(depthwise_conv, *sizes) == once
    assert flops(with_gradients(depthwise_conv), *sizes) == 3 * once


@pytest.mark.parametrize("implementation", sorted(IMPLEMENTATIONS))
def test_every_pointwise_implementation_is_the_same_work(implementation):
    run = with_gradients(IMPLEMENTATIONS[implementation])
    sizes = (2, 4, 3, 5), (1, 1, 5, 7)
    assert flops(run, *sizes) == 3 * 2 * (2 * 4 * 3) * 5 * 7


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_a_matrix_product_transposed_or_not(transpose_a, transpose_b):
    def multiply(a, b):
        return tf.matmul(a, b, transpose_a, transpose_b)

    a = (4, 3) if transpose_a else (3, 4)
    b = (5, 4) if transpose_b else (4, 5)
    assert flops(multiply, a, b) == 2 * 3 * 4 * 5
    assert flops(multiply, (6, *a), (6, *b)) == 6 * 2 * 3 * 4 * 5


def test_what_nothing_depends_on_does_not_count():
    def function(a, b):
        tf.matmul(a, b)
        return a + b

    assert flops(function, (3, 3), (3, 3)) == 0


@pytest.fixture(scope="module")
def costs():
    """Of both updates: the rewritten form, and the plain one in blocks."""
    return [
        [graph_costs(function) for function in trace_updates(gan, batch_size=2)]
        for gan in (make_gan(), make_gan(**PLAIN_IN_BLOCKS))
    ]


def test_merged_resampling_needs_4_instead_of_9_multiplications(costs):
    for one, other in zip(*costs, strict=True):
        merged, plain = flops_by_part(one), flops_by_part(other)
        ratio = merged["3x3 convolutions"] / plain["3x3 convolutions"]
        assert 4 / 9 < ratio < 0.8
        assert merged["1x1 convolutions"] < 0.6 * plain["1x1 convolutions"]
        for part in ("dense and embedding", "spectral norm"):
            assert merged[part] == plain[part]


def test_an_update_computes_no_gradient_that_it_does_not_use(costs):
    d_update, g_update = costs[0]
    kernels = [c.name for c in g_update if c.type == "Conv2DBackpropFilter"]
    assert kernels
    assert not any("discriminator" in name for name in kernels)
    backward = [c.name for c in d_update if c.name.startswith("gradient_tape")]
    assert backward
    assert not any("/generator" in name for name in backward)


def test_attention_in_blocks_is_counted_in_full(costs):
    """The products of the map, and those of a map made again backward."""
    whole, blocks = (
        [flops_by_part(update)["attention map"] for update in updates]
        for updates in costs
    )
    narrow, wide = 1, 4  # Channels of f and g, and of h, in the generator.
    positions, keys, batch = 256, 64, 2
    again = 2 * batch * positions * keys * narrow
    assert whole[1] > 3 * 2 * batch * positions * keys * (narrow + wide)
    # The discriminator has as narrow keys, and twice the images to update.
    assert blocks[0] == whole[0] + 2 * again
    assert blocks[1] == whole[1] + 2 * again


def test_nearly_all_work_has_a_part(costs):
    name = "gradient_tape/g/block/conv3x3_1_2/Conv2D"
    assert part_of(name, "Conv2D") == "3x3 convolutions"
    assert part_of("generator/add_1", "AddV2") == "relu and sums"
    assert part_of("generator/Mean", "Mean") == PARTS[-1] == "other"
    for update in costs[0]:
        total = sum(cost.bytes for cost in update)
        rest = [cost for cost in update if cost.part == "other"]
        assert sum(cost.bytes for cost in rest) < 0.1 * total
        assert not any(cost.flops for cost in rest)
