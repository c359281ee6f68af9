"""Recomputed activations change neither gradients nor state."""

import numpy as np
import pytest
from tiny_gan import make_batch, make_gan, open_gates

from sagan.layers.batch_norm import batch_norms
from sagan.profiling.flops import graph_costs
from sagan.profiling.memory import peak_bytes


def g_update(gan, batch):
    """The update of the generator, with its arguments."""
    return gan.update_generator, gan.draw_latents(batch, [0, 0])


def d_update(gan, batch):
    size = gan.generator.image_shape[0]
    (images,), (labels,) = make_batch(batch=batch, size=size)
    drawn = gan.draw_latents(batch, [0, 0])
    return gan.update_discriminator, (images, labels, *drawn)


def run_updates(batch=8, updates=(d_update, g_update), **settings):
    """Returns a GAN after one update each, and their scalars."""
    gan = make_gan(**settings)
    open_gates(gan)
    scalars = {}
    for make in updates:
        update, arguments = make(gan, batch)
        scalars |= update(*arguments)
    return gan, {name: np.mean(value) for name, value in scalars.items()}


def check_equal(expected, found):
    (one, scalars), (other, other_scalars) = expected, found
    assert other_scalars == pytest.approx(scalars, rel=1e-5)
    for network in ("generator", "discriminator"):
        for weight, same in zip(
            getattr(one, network).weights,
            getattr(other, network).weights,
            strict=True,
        ):
            np.testing.assert_allclose(
                same, weight, rtol=1e-5, atol=1e-6, err_msg=weight.path
            )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "mixed_bfloat16"},
        # Together with micro-batches and with attention in blocks.
        {"accumulation": 2, "query_block": 32},
        {"block": "separable", "recalibrate": True},
        {"block": "bottleneck", "precision": "mixed_bfloat16"},
        {"block": "inception", "precision": "mixed_bfloat16"},
        {"block": "nin", "image_size": 64, "precision": "mixed_bfloat16"},
    ],
    ids=str,
)
def test_eager_updates_are_the_same(settings, run_eagerly):
    expected = run_updates(**settings)
    found = run_updates(recompute=True, **settings)
    check_equal(expected, found)
    # Once an update, and micro-batch of the generator's.
    updates = 1 + settings.get("accumulation", 1)
    for gan in (expected[0], found[0]):
        for layer in batch_norms(gan.generator):
            assert layer.updates.numpy() == updates


def test_a_graph_holds_less_and_computes_the_same():
    settings = {
        "batch": 32,
        "updates": [g_update],
        "base_channels": 4,
        "attention_resolutions": (),
        # It holds less by itself.
        "fused_elementwise": False,
    }
    plain = run_updates(**settings)
    again = run_updates(recompute=True, **settings)
    check_equal(plain, again)
    graphs = []
    for gan, _ in (plain, again):
        update, arguments = g_update(gan, 32)
        graphs.append(update.get_concrete_function(*arguments))
    # Filters of the generator, none of the discriminator.
    filters, same = (
        sum(cost.type == "Conv2DBackpropFilter" for cost in graph_costs(graph))
        for graph in graphs
    )
    assert same == filters > 0
    # By the graph: what an allocator holds depends on what it held before.
    assert peak_bytes(graphs[1]) < 0.8 * peak_bytes(graphs[0])


def test_xla_computes_the_same(request):
    """Together with micro-batches."""
    settings = {
        "updates": [g_update],
        "accumulation": 2,
        "recompute": True,
        "attention_resolutions": (),
        "spectral_norm": False,
    }
    compiled = run_updates(jit_compile=True, **settings)
    request.getfixturevalue("run_eagerly")
    expected_gan, expected = run_updates(**settings)
    gan, scalars = compiled
    assert scalars == pytest.approx(expected, rel=1e-4)
    # Adam's first update is of one size however small a gradient is.
    for one, other in zip(
        expected_gan.generator.non_trainable_variables,
        gan.generator.non_trainable_variables,
        strict=True,
    ):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
