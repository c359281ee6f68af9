"""The command that starts several workers, as a person types it."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def launch(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "sagan.launch", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Got nothing"),
        (["--workers=0", "--", "--gin_config=x"], "--workers=0"),
        (["--workrs=2"], "Unknown command line flag 'workrs'"),
        (["--gin_config=x"], "'gin_config'. What to train comes after --"),
        (["x", "--", "--gin_config=x"], "after --"),
    ],
    ids=["nothing", "no workers", "misspelled", "no dashes", "word"],
)
def test_mistake_is_named_without_a_traceback(arguments, message):
    result = launch(*arguments)
    assert result.returncode == 1
    assert message in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


def test_arguments_go_to_the_workers():
    result = launch("--workers=3", "--", "--no_such_flag", "--workers=5")
    # absl ends every command with 1 upon a flag it does not know.
    assert result.returncode == 1
    assert "Unknown command line flag 'no_such_flag'" in result.stderr
    assert "ended with exit code 1." in result.stderr
