"""What a page says of a run's limits, from its record."""

import json
import types

import pytest

from sagan.explorer.limits import known_limits, limits_of_maps

_SCORES = {
    "step": 90,
    "fid": 3.0,
    "kid": 0.1,
    "protocol": {"features": "classifier-cifar10", "num_samples": 2000},
}


@pytest.fixture
def run(tmp_path):
    """A run of which nothing is missing but scores."""
    data = {"classes": ["a", "b"], "counts": [100, 100]}
    write(tmp_path, "sessions.jsonl", {"commit": "1", "data": data})
    return types.SimpleNamespace(
        workdir=tmp_path,
        steps=[50, 100],
        settings={"num_steps": 100, "seed": 3, "labels": "uniform"},
        generator=types.SimpleNamespace(num_classes=2),
    )


def write(folder, name, *lines):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / name).write_text(text)


def test_one_seed_and_no_score_are_always_said(run):
    seed, score = known_limits(run)
    assert seed.startswith("One run, of seed 3:")
    assert score.startswith("No FID or other score")


def test_training_that_ended_early_is_said(run):
    run.settings["num_steps"] = 1000
    assert (
        "ended, so far, at step 100 of 1,000 planned (10.0%)."
        in (known_limits(run)[1])
    )


def test_scores_are_put_in_their_place(run):
    write(run.workdir, "scores.jsonl", _SCORES)
    _, missing, step, features, number = known_limits(run)
    assert "recall" in missing
    assert "KID" not in missing
    assert step == "The newest scores are of step 90, not of 100."
    assert "features of classifier-cifar10 compare with" in features
    assert number.startswith("Scores are of 2,000 generated images")
    published = _SCORES["protocol"] | {
        "features": "inception-2015-12-05",
        "num_samples": 50_000,
    }
    write(run.workdir, "scores.jsonl", _SCORES | {"protocol": published})
    assert len(known_limits(run)) == 3


def test_unequal_classes_are_said_unless_labels_follow_them(run):
    data = {"classes": ["a", "b"], "counts": [900, 100]}
    write(run.workdir, "sessions.jsonl", {"commit": "1", "data": data})
    assert "a 900, b 100" in known_limits(run)[1]
    run.settings["labels"] = "data"
    assert len(known_limits(run)) == 2


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ([{}], "commit of the code was not recorded"),
        ([{"commit": "1"}, {"commit": "2"}], "by 2 versions of the code"),
        ([{"commit": "1+"}], "changes that its commit does not have"),
        ([{"commit": "1"}], "Which images it was trained on was not recorded"),
    ],
)
def test_gaps_of_the_record_are_said(run, sessions, message):
    write(run.workdir, "sessions.jsonl", *sessions)
    assert message in " ".join(known_limits(run))


def test_maps_that_mean_little_are_named():
    good = {"change": 0.2, "entropy": 3.0, "entropy_uniform": 6.0}
    rows = [
        good | {"block": "g/attention_16"},
        good | {"block": "g/attention_8", "change": 0.004},
        good | {"block": "d/attention_16", "entropy": 5.9},
    ]
    small, uniform = limits_of_maps(rows)
    assert small.startswith("g/attention_8 changes its input by 0.4%")
    assert uniform.startswith("d/attention_16 looks nearly everywhere")
