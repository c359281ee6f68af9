"""What a run's record does not support, in sentences for its page."""

from collections.abc import Mapping, Sequence

from sagan.evaluation.features import INCEPTION
from sagan.evaluation.records import read_records
from sagan.explorer.networks import Run
from sagan.latents import describe_imbalance
from sagan.runs.files import read_json
from sagan.runs.record import SESSIONS_FILE, last_data

# Scores that a record may have, by name, and what each says.
_SCORES = {
    "fid": "FID", "kid": "KID", "is": "Inception Score",
    "precision": "precision", "recall": "recall", "density": "density",
    "coverage": "coverage", "intra_fid": "intra-class FID",
}  # fmt: skip
# Fewer generated images than published scores have.
_MANY = 10_000


def known_limits(run: Run) -> list[str]:
    """Returns what was not measured, or restricts what was."""
    return [
        *_of_training(run),
        *_of_data(last_data(run.workdir) or {}, run),
        *_of_scores(read_records(run.workdir), run.steps[-1]),
    ]


def _of_training(run):
    planned, seed = run.settings["num_steps"], run.settings["seed"]
    yield (
        f"One run, of seed {seed}: how far another seed would be from it was "
        "not measured."
    )
    if (last := run.steps[-1]) < planned:
        yield (
            f"Training ended, so far, at step {last:,} of {planned:,} planned "
            f"({last / planned:.1%})."
        )
    sessions = read_json(run.workdir / SESSIONS_FILE)
    commits = list(dict.fromkeys(x.get("commit") or "" for x in sessions))
    if not all(commits) or not sessions:
        yield "The commit of the code was not recorded."
    if len(commits) > 1:
        yield f"Trained by {len(commits)} versions of the code in turn."
    if any(commit.endswith("+") for commit in commits):
        yield "The code had changes that its commit does not have."


def _of_data(data, run):
    if not data:
        yield "Which images it was trained on was not recorded."
    counts = data.get("counts")
    if run.generator.num_classes > 1 and not counts:
        yield "How many images each class has was not counted."
    elif counts and run.settings["labels"] == "uniform":
        text = describe_imbalance(counts, "train.labels", data["classes"])
        if text:
            yield text


def _of_scores(records, last):
    if not records:
        yield (
            "No FID or other score against real images was recorded: how good "
            "and how varied its images are was not measured."
        )
        return
    missing = [
        text
        for name, text in _SCORES.items()
        if not any(name in record for record in records)
    ]
    if missing:
        yield f"Not measured: {', '.join(missing)}."
    if all(record["step"] != last for record in records):
        steps = max(record["step"] for record in records)
        yield f"The newest scores are of step {steps:,}, not of {last:,}."
    protocols = [record["protocol"] for record in records]
    for name in dict.fromkeys(x["features"] for x in protocols):
        if name != INCEPTION:
            yield (
                f"Scores in the features of {name} compare with others in "
                "them only, and with none that was published."
            )
    fewest = min(x["num_samples"] for x in protocols)
    if fewest < _MANY:
        yield (
            f"Scores are of {fewest:,} generated images: FID is too high with "
            "few, by an amount inversely proportional to their number."
        )


def limits_of_maps(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Returns which attention maps mean little.

    Args:
        rows: Rows of `Looks.numbers`.
    """
    texts = []
    for row in {row["block"]: row for row in rows}.values():
        if row["change"] < 0.01:
            texts.append(
                f"{row['block']} changes its input by {row['change']:.1%}: "
                "where it looks has next to no effect."
            )
        elif row["entropy"] > 0.95 * row["entropy_uniform"]:
            texts.append(f"{row['block']} looks nearly everywhere alike.")
    return texts
