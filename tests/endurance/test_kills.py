"""Runs killed at random moments end bitwise as undisturbed ones do."""

import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).with_name("kill_runs.py")


def test_killed_runs_end_like_the_undisturbed_one(tmp_path):
    result = subprocess.run(
        [sys.executable, SCRIPT, f"--folder={tmp_path / 'runs'}", "--kills=20"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
