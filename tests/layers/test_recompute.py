"""Activations made again change neither gradients nor state."""

import numpy as np
import pytest
from tiny_gan import make_batch, make_gan

from sagan.profiling.flops import graph_costs
from sagan.profiling.memory import peak_bytes


def updates(gan, batch):
    """The two updates of a step, each with its arguments."""
    images, labels = make_batch(batch=batch)
    latents, fake_labels = gan.draw_latents(batch, [0, 0])
    return (
        (
            gan.update_discriminator,
            (images[0], labels[0], latents, fake_labels),
        ),
        (gan.update_generator, (latents, fake_labels)),
    )


def run_updates(precision, batch=8, **settings):
    """A GAN after one update each, and their scalars; gamma is not zero."""
    gan = make_gan(precision=precision, **settings)
    for network in (gan.generator, gan.discriminator):
        for attention in network.attentions:
            if hasattr(attention, "gamma"):
                attention.gamma.assign(0.5)
    scalars = {}
    for update, arguments in updates(gan, batch):
        scalars |= update(*arguments)
    return gan, {name: np.mean(value) for name, value in scalars.items()}


def peak(update, arguments):
    """By the graph: what an allocator holds depends on what it held before."""
    return peak_bytes(update.get_concrete_function(*arguments))


def filter_gradients(update, arguments):
    costs = graph_costs(update.get_concrete_function(*arguments))
    return sum(cost.type == "Conv2DBackpropFilter" for cost in costs)


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


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_eager_updates_are_the_same(precision, run_eagerly):
    expected = run_updates(precision)
    found = run_updates(precision, recompute=True)
    check_equal(expected, found)
    for gan in (expected[0], found[0]):  # Once an update.
        for layer in (gan.generator.norm, gan.generator.blocks[0].norm1):
            assert layer.updates.numpy() == 2


def test_it_goes_together_with_micro_batches(run_eagerly):
    check_equal(
        run_updates("float32", accumulation=2),
        run_updates("float32", accumulation=2, recompute=True),
    )


def test_it_goes_together_with_attention_in_blocks(run_eagerly):
    check_equal(
        run_updates("float32", query_block=32),
        run_updates("float32", query_block=32, recompute=True),
    )


def test_a_graph_holds_less_and_computes_the_same():
    settings = {"batch": 32, "base_channels": 4, "attention_resolutions": ()}
    plain = run_updates("float32", **settings)
    again = run_updates("float32", recompute=True, **settings)
    check_equal(plain, again)
    # The one of the generator, and none of the discriminator's gradients.
    (_, one), (_, other) = (updates(gan, 32) for gan, _ in (plain, again))
    assert filter_gradients(*other) == filter_gradients(*one) > 0
    assert peak(*other) < 0.8 * peak(*one)


def test_xla_computes_the_same():
    """Both knobs at once."""
    plain, compiled = (
        make_gan(
            jit_compile=jit_compile,
            accumulation=2,
            recompute=True,
            attention_resolutions=(),
            spectral_norm=False,
        )
        for jit_compile in (False, True)
    )
    _, (_, arguments) = updates(plain, 8)
    expected = plain.update_generator(*arguments)
    for name, value in compiled.update_generator(*arguments).items():
        assert float(value) == pytest.approx(float(expected[name]), rel=1e-4)
    for one, other in zip(
        plain.generator.non_trainable_variables,
        compiled.generator.non_trainable_variables,
        strict=True,
    ):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)
