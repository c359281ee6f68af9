"""Scores of real images broken on purpose, as the script prints them."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_collapse_range_and_labels_are_each_seen_by_some_score(features):
    command = [
        sys.executable,
        "scripts/score_broken_images.py",
        "--gin_config=configs/synthetic.gin",
        "--gin_bindings=make_dataset.num_examples = 400",
        f"--features={features}",
        "--num_images=200",
    ]
    table = subprocess.check_output(command, cwd=ROOT, text=True)
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
    )
    scores = {
        name: dict(zip(header[1:], map(float, values), strict=True))
        for name, *values in rows
    }
    one, few = scores["one of them, repeated"], scores["50 of them, repeated"]
    unchanged, shifted = scores["unchanged"], scores["labels shifted by one"]
    assert one["recall"] == 0.0
    assert one["fid"] > 2 * unchanged["fid"]
    assert few["coverage"] < 0.7 * unchanged["coverage"]
    assert scores["scaled to [0, 1]"]["fid"] > 2 * unchanged["fid"]
    # Colours of these images are symmetric, so that only pairs with other
    # labels tell a shift, and nothing tells swapped channels.
    assert shifted["fid"] == unchanged["fid"]
    assert shifted["intra_fid"] > 1.2 * unchanged["intra_fid"]
    assert len(scores) == 6
