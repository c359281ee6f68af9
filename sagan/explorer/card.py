"""What a run was: its config, data, time, curves and scores, as JSON values."""

import json
import pathlib
import re

import numpy as np

from sagan.config import CONFIG_FILE
from sagan.evaluation.records import read_records, tables
from sagan.explorer.limits import known_limits
from sagan.explorer.networks import Run
from sagan.runs.files import read_json
from sagan.runs.logs import read_metrics
from sagan.runs.record import SESSIONS_FILE, last_data

# A curve is drawn a few hundred pixels wide.
_POINTS = 200
# Names of metrics.jsonl, by the picture that they share.
_CURVES = {
    "Losses": r"[dg]_loss",
    "Logits": r"(real|fake)_logits",
    "FID": r"score/fid_.*",
    "Agreement of shapes": r"score/agreement_.*",
    "Gate of attention, gamma": r".*/gamma/.*",
    "Entropy of attention, bits": r"attention/.*/entropy",
    "Change by attention": r"attention/.*/change",
}


def describe_run(run: Run) -> dict[str, object]:
    """Returns what the page needs to know about a run."""
    size, _, channels = run.generator.image_shape
    return {
        "name": run.workdir.absolute().name,
        "steps": run.steps,
        "classes": run.classes,
        "size": size,
        "channels": channels,
        "latents": run.generator.latent_dim,
        "directions": run.directions.round(6).tolist(),
        "shares": run.shares.round(6).tolist(),
        "blocks": [
            {
                "name": name,
                "size": block.size[0],
                "keys": round(block.maps.shape[-1] ** 0.5),
            }
            for name, block in run.first.blocks.items()
        ],
        "curves": read_curves(run.workdir),
        "facts": _facts(run),
        "limits": known_limits(run),
        "scores": tables(read_records(run.workdir)),
        "config": (run.workdir / CONFIG_FILE).read_text(),
    }


def read_curves(workdir) -> list[dict[str, object]]:
    """Returns the curves of a run, by picture.

    Returns:
        For each picture its `title` and `lines`: by name, pairs of a step and a
        value, at most 200, each of them a mean over some lines of the log.
    """
    metrics = read_metrics(workdir)
    names = list(dict.fromkeys(name for line in metrics for name in line))
    pictures = []
    for title, pattern in _CURVES.items():
        lines = {
            name: _thinned([(x["step"], x.get(name)) for x in metrics])
            for name in names
            if re.fullmatch(pattern, name)
        }
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            pictures.append({"title": title, "lines": lines})
    return pictures


def _thinned(points):
    points = [(x, y) for x, y in points if isinstance(y, int | float)]
    parts = np.array_split(np.array(points), min(_POINTS, len(points)) or 1)
    return [part.mean(0).round(5).tolist() for part in parts if len(part)]


def _facts(run):
    """Returns pairs of a name and a text, for a person."""
    sessions = read_json(pathlib.Path(run.workdir) / SESSIONS_FILE)
    data = last_data(run.workdir) or {}
    last = sessions[-1] if sessions else {}
    hours = _hours(run.workdir)
    facts = {
        "Data": data.get("name"),
        "Training images": data.get("images"),
        "Fingerprint of the data": data.get("fingerprint"),
        "Steps": run.steps[-1],
        "Hours of training": f"{hours:.2f}" if hours else None,
        "Sessions": len(sessions) or None,
        "Started": sessions[0].get("started") if sessions else None,
        "Machine": last.get("machine"),
        "Devices": ", ".join(last.get("devices", [])),
        "Commit": last.get("commit"),
        "Versions": ", ".join(
            f"{name} {last[name]}"
            for name in ("python", "tensorflow", "keras")
            if name in last
        ),
        "Parameters of the generator": f"{run.generator.count_params():,}",
        "Parameters of the discriminator": (
            f"{run.discriminator.count_params():,}"
        ),
    }
    return [[name, str(text)] for name, text in facts.items() if text]


def _hours(workdir):
    """Returns the time that the logged steps took."""
    seconds, before = 0.0, 0
    for line in read_metrics(workdir):
        if "step_seconds" in line and line["step"] > before:
            seconds += line["step_seconds"] * (line["step"] - before)
            before = line["step"]
    return seconds / 3600


def to_json(values) -> str:
    """Returns JSON without what browsers cannot read: NaN and infinity."""
    return json.dumps(values, allow_nan=False, separators=(",", ":"))
