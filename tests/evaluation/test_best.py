"""The best checkpoint of a run, by a score."""

import types

import pytest

from sagan.evaluation.best import BEST_FOLDER, ScoresInTraining
from sagan.runs.checkpoints import checkpoint_steps


def scores_by(workdir, by):
    evaluation = types.SimpleNamespace(
        real_reference={"fid": 0.1, "recall": 0.9}
    )
    return ScoresInTraining(workdir, evaluation, None, by, "moving")


def keep(workdir, step, value, by="fid", samples=10):
    """Scores a checkpoint as a session of its own does."""
    checkpoint = workdir / f"checkpoints/step_{step:08d}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.index").write_text(str(step))
    scores = scores_by(workdir, by)
    protocol = {"num_samples": samples}
    scores.record = {"step": step, by: value, "protocol": protocol}
    scores.keep_best(checkpoint)


def test_a_score_that_there_is_not_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="best_by is 'is'.*fid, recall"):
        scores_by(tmp_path, "is")


def test_the_best_under_another_protocol_is_no_rival(tmp_path):
    keep(tmp_path, 1, 1.0, samples=10)
    keep(tmp_path, 2, 9.0, samples=20)
    assert checkpoint_steps(tmp_path / BEST_FOLDER) == [2]


@pytest.mark.parametrize(
    ("by", "values"),
    [("fid", (5.0, 3.0, 4.0)), ("recall", (0.1, 0.3, 0.2))],
)
def test_better_is_lower_or_higher_by_the_score(tmp_path, by, values):
    for step, value in enumerate(values, start=1):
        keep(tmp_path, step, value, by)
    best = tmp_path / BEST_FOLDER
    assert checkpoint_steps(best) == [2]
    assert (best / "step_00000002/checkpoint.index").read_text() == "2"


def test_a_damaged_best_is_set_aside_and_an_interrupted_one_put_back(
    tmp_path, caplog
):
    best = tmp_path / BEST_FOLDER
    keep(tmp_path, 1, 5.0)
    # As killed between the old folder's going and the new one's coming.
    best.rename(tmp_path / ".partial_old_best")
    keep(tmp_path, 2, 6.0)
    assert checkpoint_steps(best) == [1]
    for step, content in enumerate(("", "null", '{"by": "fid", '), start=3):
        (best / "best.json").write_text(content)
        keep(tmp_path, step, 6.0)
        assert checkpoint_steps(best) == [step]
        assert "best.json is damaged" in caplog.text
        caplog.clear()
    assert checkpoint_steps(tmp_path / "damaged_best") == [4]
