"""The benchmark of a step, as a user runs it."""

import csv
import re
import sys

import pytest
from command_line import run


def benchmark(out, *arguments):
    """Runs the command on the smallest networks; returns what it prints."""
    result = run(
        [
            sys.executable,
            "scripts/benchmark_step.py",
            "--gin_config=configs/synthetic.gin",
            "--gin_bindings=BASE_CHANNELS=2",
            "--batch_size=2",
            "--samples=3",
            f"--out={out}",
            *arguments,
        ]
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("compare", "other"),
    [
        ("plain", "plain"),
        ("fused_norm", "without fused_norm"),
        ("make_objective.r1 = 0.1", "make_objective.r1 = 0.1"),
    ],
)
def test_the_command_compares_two_forms(compare, other, tmp_path):
    last = benchmark(tmp_path, f"--compare={compare}")[-1]
    name = other if other == "plain" else f"the form {other}"
    if "=" in compare:
        number = r"\d+\.\d\d"
        pattern = (
            rf"{other}: seconds {number} \({number} to {number} by "
            rf"quartiles\), memory {number}"
        )
    else:
        pattern = rf"speedup over {name}: \d+\.\d\d"
    assert re.fullmatch(pattern, last)
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    work = {row["form"]: float(row["gflop"]) for row in rows}
    first = "config" if "=" in compare else "rewritten"
    assert work.keys() == {first, other}
    assert (work[first] < work[other]) == (compare != "fused_norm")


def test_the_command_writes_tables_and_a_figure(tmp_path):
    text = benchmark(tmp_path, "--gin_bindings=ATTENTION_RESOLUTIONS=()")
    assert sum("neither convolution nor matrix" in line for line in text) == 1
    with (tmp_path / "step_synthetic.csv").open(newline="") as file:
        assert {row["form"] for row in csv.DictReader(file)} == {"config"}
    assert (tmp_path / "step_synthetic_parts.csv").is_file()
    assert (tmp_path / "step_synthetic.png").stat().st_size > 5000
