"""A whole training step, whose compilation by XLA takes half a minute."""

import pytest
from tiny_gan import make_batch, make_gan


def test_a_step_computes_the_same_under_xla():
    batch = make_batch(d_steps=2)
    expected = make_gan().train_step(*batch)
    for name, value in make_gan(jit_compile=True).train_step(*batch).items():
        assert float(value) == pytest.approx(
            float(expected[name]), rel=1e-3, abs=1e-4
        ), name
