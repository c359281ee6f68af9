"""Scores of runs: in training, by the command, and against what."""

import json
import subprocess
import sys
import types

import gin
import numpy as np
import pytest

from sagan.config import parse_config
from sagan.evaluation import protocol as evaluation_module
from sagan.evaluation import real_images as reference
from sagan.evaluation.best import BEST_FOLDER, ScoresInTraining
from sagan.evaluation.embedding import quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.real_images import open_real
from sagan.evaluation.records import SCORES_FILE, read_records
from sagan.runs.checkpoints import checkpoint_steps, read_checkpoint
from sagan.runs.logs import read_metrics
from sagan.training.train import train

SCORES = {
    "fid", "kid", "kid_std", "precision", "recall", "density", "coverage",
    "is", "is_10", "is_10_std", "intra_fid",
}  # fmt: skip


def evaluate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sagan.evaluate", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def evaluation(bindings, tmp_path_factory):
    parse_config(["configs/synthetic.gin"], bindings)
    made = make_evaluation(tmp_path_factory.mktemp("evaluation"))
    gin.clear_config()
    return made


def test_training_puts_scores_on_record_and_in_its_log(run):
    records = read_records(run)
    assert [r["step"] for r in records] == [2, 4]
    assert records[0].keys() >= SCORES
    assert records[0]["protocol"]["num_samples"] == 120
    assert records[0]["floor"].keys() == SCORES
    logged = {m["step"]: m for m in read_metrics(run)}
    for record in records:
        line = logged[record["step"]]
        assert line["score/fid_ema"] == record["fid"]
        assert line["score/recall_ema"] == record["recall"]


def test_the_best_checkpoint_is_kept(run):
    records = {r["step"]: r for r in read_records(run)}
    best = json.loads((run / BEST_FOLDER / "best.json").read_text())
    assert best["by"] == "fid"
    assert best["value"] == min(r["fid"] for r in records.values())
    assert best["value"] == records[best["step"]]["fid"]
    (step,) = checkpoint_steps(run / BEST_FOLDER)
    assert step == best["step"]
    one, other = (
        read_checkpoint(folder, step)
        for folder in (run / BEST_FOLDER, run / "checkpoints")
    )
    np.testing.assert_equal(one, other)


def scores_by(workdir, by):
    evaluation = types.SimpleNamespace(
        real_reference={"fid": 0.1, "recall": 0.9}
    )
    return ScoresInTraining(workdir, evaluation, None, by, "moving")


def test_a_score_that_there_is_not_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match="best_by is 'is'.*fid, recall"):
        scores_by(tmp_path, "is")


def test_the_best_under_another_protocol_is_no_rival(tmp_path):
    for step, (value, samples) in enumerate(((1.0, 10), (9.0, 20)), start=1):
        checkpoint = tmp_path / f"checkpoints/step_{step:08d}"
        checkpoint.mkdir(parents=True)
        scores = scores_by(tmp_path, "fid")
        protocol = {"num_samples": samples}
        scores.record = {"step": step, "fid": value, "protocol": protocol}
        scores.keep_best(checkpoint)
    assert checkpoint_steps(tmp_path / BEST_FOLDER) == [2]


@pytest.mark.parametrize(
    ("by", "values", "kept"),
    [("fid", (5.0, 3.0, 4.0), 2), ("recall", (0.1, 0.3, 0.2), 2)],
)
def test_better_is_lower_or_higher_by_the_score(tmp_path, by, values, kept):
    for step, value in enumerate(values, start=1):
        checkpoint = tmp_path / f"checkpoints/step_{step:08d}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "checkpoint.index").write_text(str(step))
        # Anew each time, as by a run that goes on.
        scores = scores_by(tmp_path, by)
        scores.record = {"step": step, by: value, "protocol": {"n": 10}}
        scores.keep_best(checkpoint)
    best = tmp_path / BEST_FOLDER
    assert checkpoint_steps(best) == [kept]
    file = best / f"step_{kept:08d}" / "checkpoint.index"
    assert file.read_text() == str(kept)


def test_a_damaged_best_is_set_aside_and_an_interrupted_one_put_back(
    tmp_path, caplog
):
    best = tmp_path / BEST_FOLDER

    def score(step, value):
        checkpoint = tmp_path / f"checkpoints/step_{step:08d}"
        checkpoint.mkdir(parents=True)
        scores = scores_by(tmp_path, "fid")
        scores.record = {"step": step, "fid": value, "protocol": {}}
        scores.keep_best(checkpoint)

    score(1, 5.0)
    # As killed between the old folder's going and the new one's coming.
    best.rename(tmp_path / ".partial_old_best")
    score(2, 6.0)
    assert checkpoint_steps(best) == [1]
    for step, content in enumerate(("", "null", '{"by": "fid", '), start=3):
        (best / "best.json").write_text(content)
        score(step, 6.0)
        assert checkpoint_steps(best) == [step]
        assert "best.json is damaged" in caplog.text
        caplog.clear()
    assert checkpoint_steps(tmp_path / "damaged_best") == [4]


def test_scores_do_not_change_the_run(run, bindings, tmp_path):
    parse_config(["configs/synthetic.gin"], [*bindings, "NUM_STEPS = 4"])
    train(workdir=str(tmp_path))
    for one, other in zip(read_metrics(run), read_metrics(tmp_path)):  # noqa: B905
        assert one["d_loss"] == other["d_loss"]


def test_the_command_scores_checkpoints(run):
    before = len(read_records(run))
    result = evaluate(
        f"--workdir={run}",
        "--step=all",
        "--weights=ema,raw",
        "--statistics=moving,standing",
        "--num_samples=130",
    )
    assert result.returncode == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0][:2] == ["step", "weights"]
    assert [row[:3] for row in rows[1:9]] == [
        [step, weights, statistics]
        for step in ("2", "4")
        for weights in ("ema", "raw")
        for statistics in ("moving", "standing")
    ]
    assert rows[9][1:3] == ["real", "images"]
    assert "130 samples (labels: uniform) against 200" in result.stdout
    records = read_records(run)[before:]
    assert len(records) == 8
    for record in records:
        assert record["protocol"]["num_samples"] == 130
        assert record["protocol"]["features"] == "coarse"
        assert record["seconds"] >= 0
        assert record["peak_memory_bytes"] > 0
        assert np.isfinite([record[name] for name in SCORES]).all()
    assert len({record["fid"] for record in records}) == 8
    assert (run / SCORES_FILE).read_text().count("\n") == before + 8
    again = evaluate(f"--workdir={run}", "--table")
    for line in result.stdout.splitlines()[1:9]:
        assert line in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step=3"], "--step is '3': expected all, last, best or one of 2"),
        (["--step=newest"], "--step is 'newest'"),
        (["--weights=averaged"], "--weights has 'averaged'"),
        (["--statistics=none"], "--statistics has 'none'"),
        (
            ["--features=nowhere"],
            "nowhere does not exist: expected 'classifier'",
        ),
        (["--num_samples=1"], "num_samples"),
    ],
)
def test_the_command_names_a_mistake(run, arguments, message):
    before = (run / SCORES_FILE).read_text()
    result = evaluate(f"--workdir={run}", *arguments)
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert (run / SCORES_FILE).read_text() == before


def test_without_a_classifier_the_message_says_how_to_train_one(
    bindings, tmp_path
):
    settings = [b for b in bindings if "features" not in b]
    parse_config(["configs/synthetic.gin"], settings)
    with pytest.raises(ValueError, match="python -m sagan.classifier"):
        make_evaluation(tmp_path)


def test_a_generator_is_scored_the_same_twice(evaluation, run):
    from tiny_gan import make_generator

    generator = make_generator()
    one, other = (evaluation.record(generator, 1, "ema") for _ in range(2))
    for name in SCORES:
        assert one[name] == other[name]


def test_the_floor_is_better_than_noise(evaluation):
    from tiny_gan import make_generator

    noise = evaluation.record(make_generator(), 0, "raw")
    assert evaluation.protocol["num_floor"] == 150
    assert evaluation.real_reference["fid"] < 0.2 * noise["fid"]
    assert evaluation.real_reference["coverage"] > 2 * noise["coverage"]


def test_features_of_real_images_are_computed_once(
    bindings, tmp_path, monkeypatch
):
    parse_config(["configs/synthetic.gin"], bindings)
    first = make_evaluation(tmp_path)
    files = sorted((tmp_path / "sagan_features").iterdir())
    assert len(files) == 2
    name = "synthetic_train_32x32x3_200of200_kept100_all_coarse_"
    assert files[1].name.startswith(name)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(reference, "embed_images", refuse)
    again = make_evaluation(tmp_path)
    assert again.real_reference == first.real_reference
    np.testing.assert_array_equal(again.real.mean, first.real.mean)
    # A run of another seed or batch is scored against the same images.
    with gin.unlock_config():
        gin.bind_parameter("make_dataset.seed", 5)
        gin.bind_parameter("make_dataset.batch_size", 8)
    np.testing.assert_allclose(
        make_evaluation(tmp_path).real.mean, again.real.mean, atol=1e-9
    )
    monkeypatch.undo()
    # One that is damaged is made anew.
    files[1].write_bytes(files[1].read_bytes()[:500])
    np.testing.assert_allclose(
        make_evaluation(tmp_path).real.mean, again.real.mean, atol=1e-9
    )
    # Other images, other features.
    with gin.unlock_config():
        gin.bind_parameter("make_dataset.num_examples", 180)
    assert make_evaluation(tmp_path).real.count == 180
    assert len(list((tmp_path / "sagan_features").iterdir())) > 2


def test_a_cache_that_cannot_be_written_costs_only_time(
    bindings, tmp_path, monkeypatch
):
    parse_config(["configs/synthetic.gin"], bindings)
    (tmp_path / "sagan_features").write_text("a file in its place")
    assert make_evaluation(tmp_path).real.count == 200


def test_a_folder_of_images_is_compared_with_its_other_half(bindings, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(130):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
    settings = [b for b in bindings if "num_examples" not in b]
    parse_config(
        ["configs/synthetic.gin"],
        [
            *settings,
            f"make_dataset.name = 'folder:{tmp_path}/images'",
            "NUM_CLASSES = 0",
        ],
    )
    made = make_evaluation(tmp_path / "run")
    assert made.real.count == 130
    assert made.protocol["num_floor"] == 65
    assert made.protocol["floor_split"] == "halves"
    assert made.protocol["labels"] == "none"
    assert "intra_fid" not in made.real_reference
    assert len(list((tmp_path / "sagan_features").iterdir())) == 3


def test_the_split_of_the_config_is_on_record(bindings, tmp_path):
    parse_config(
        ["configs/synthetic.gin"],
        [*bindings, "make_dataset.split = 'test'"],
    )
    made = make_evaluation(tmp_path)
    assert made.protocol["split"] == "test"
    # The test images are in the reference: they are no floor.
    assert made.protocol["floor_split"] == "halves"
    assert made.protocol["num_floor"] == 100


def test_a_feature_network_of_another_size_is_refused(
    bindings, tmp_path, monkeypatch
):
    parse_config(["configs/synthetic.gin"], bindings)

    def refuse(images):
        raise ValueError("expected 64 pixels")

    network = FeatureNetwork("large", "0", "none", refuse)
    monkeypatch.setattr(evaluation_module, "open_features", lambda _: network)
    with pytest.raises(ValueError, match="large cannot embed .*32.*64 pixels"):
        make_evaluation(tmp_path)


def test_real_images_are_not_mirrored_and_seen_once(bindings):
    parse_config(
        ["configs/synthetic.gin"], [*bindings, "make_dataset.flip = True"]
    )
    data = open_real("train", None)
    images = np.concatenate([i for i, _ in data.one_pass()])
    assert len(images) == 200
    assert len(np.unique(images.reshape(200, -1), axis=0)) == 200
    np.testing.assert_array_equal(quantise(images), images)
    assert evaluation_module.WEIGHTS == ("ema", "raw")
