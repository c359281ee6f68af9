"""Settings that have no effect without others."""

import re
from typing import Annotated

import pytest
from absl import logging

from sagan.config import Count, Fraction, Needs, checked
from sagan.generator import build_generator
from sagan.optimizers import make_optimizers
from sagan.training.assembly import make_objective


@checked
def make(
    every: Annotated[Count, Needs("first", "second")] = 1,
    decay: Annotated[Fraction, Needs("first")] = 0.5,
    switch: Annotated[bool, Needs("first")] = False,
    first: float = 0.0,
    second: float = 0.0,
):
    return every, decay, switch, first, second


@pytest.fixture
def warnings(monkeypatch):
    found = []
    monkeypatch.setattr(logging, "warning", lambda x, *a: found.append(x % a))
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, []),
        ({"first": 1.0, "every": 4, "decay": 0.9, "switch": True}, []),
        ({"second": 1.0, "every": 4}, []),
        ({"every": 1, "decay": 0.5}, []),
        (
            {"every": 4},
            ["make.every = 4 has no effect without first or second"],
        ),
        ({"second": 1.0, "switch": True}, ["make.switch = True has no effect"]),
        (
            {"every": 2, "decay": 0.9},
            ["make.every = 2 has", "make.decay = 0.9 has"],
        ),
    ],
    ids=str,
)
def test_a_setting_without_the_one_it_needs_is_warned_of(
    settings, expected, warnings
):
    assert make(**settings)[0] == settings.get("every", 1)
    assert len(warnings) == len(expected)
    for warning, words in zip(warnings, expected, strict=True):
        assert warning.startswith(words)


@pytest.mark.parametrize(
    "settings", [{"every": 0}, {"decay": 1.0}, {"switch": 1}], ids=str
)
def test_it_is_checked_as_any_other(settings):
    with pytest.raises(ValueError, match=r"make\.\w+ is .*: expected"):
        make(**settings)


@pytest.mark.parametrize(
    ("call", "settings", "words"),
    [
        (make_objective, {"penalty_every": 4}, "penalty_every = 4.* r1 or r2"),
        (make_objective, {"lecam_start": 5}, "lecam_start = 5 .* lecam"),
        (make_objective, {"lecam_decay": 0.5}, "lecam_decay = 0.5 .* lecam"),
        (
            build_generator,
            {"image_size": 32, "base_channels": 1, "class_spectral_norm": True}
            | {"attention_resolutions": ()},
            "class_spectral_norm = True .* num_classes",
        ),
        (
            make_optimizers,
            {"mixed_float16": False, "warmup_steps": 9, "decay_start": 8}
            | {"decay_end": 20},
            "warmup_steps = 9 .*decay_start = 8",
        ),
    ],
)
def test_idle_knobs_are_warned_of(call, settings, words, warnings):
    call(**settings)
    (warning,) = warnings
    assert re.search(words, warning)
