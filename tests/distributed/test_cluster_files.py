"""The manifests of docs/ fit the commands and configs they start."""

import json
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SBATCH = ROOT / "docs/slurm/train.sbatch"
JOB = ROOT / "docs/kubernetes/job.yaml"


def pod_command():
    """The bash script of the pod, and its arguments.

    Read without a YAML parser, which no dependency of the project brings.
    """
    lines = JOB.read_text().splitlines()
    start = lines.index("            - |") + 1
    end = lines.index("            - train")
    script = "\n".join(line.removeprefix(" " * 14) for line in lines[start:end])
    arguments = []
    for line in lines[end + 1 :]:
        if not line.startswith("            - "):
            break
        arguments.append(line.removeprefix("            - "))
    return script, arguments


@pytest.mark.parametrize("path", [SBATCH, JOB], ids=lambda path: path.name)
def test_flags_and_configs_exist(path):
    text = path.read_text()
    sources = ROOT / "sagan/train.py", ROOT / "sagan/cli.py"
    defined = "".join(source.read_text() for source in sources)
    flags = re.findall(r"--((?:gin|data|work)\w+)=", text)
    assert {"gin_config", "workdir"} <= set(flags)
    for flag in flags:
        assert f'"{flag}"' in defined
    for config in re.findall(r"configs/\w+\.gin", text):
        assert (ROOT / config).is_file()


@pytest.mark.parametrize(
    "script", [SBATCH.read_text(), pod_command()[0]], ids=["slurm", "pod"]
)
def test_script_is_bash(script):
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_pod_tells_each_worker_its_place(tmp_path):
    """The pod's script, with a python that only notes how it was called."""
    script, arguments = pod_command()
    for name, body in {
        "python": 'echo "$TF_CONFIG" > config; echo "$@" > args; exit 143',
        "getent": "exit 0",
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/bash\n{body}\n")
        program.chmod(0o755)
    result = subprocess.run(
        ["bash", "-c", script, "train", *arguments],
        cwd=tmp_path,
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "WORKERS": "2",
            "JOB_COMPLETION_INDEX": "1",
        },
        timeout=30,
    )
    assert result.returncode == 143
    assert json.loads((tmp_path / "config").read_text()) == {
        "cluster": {"worker": ["sagan-0.sagan:2222", "sagan-1.sagan:2222"]},
        "task": {"type": "worker", "index": 1},
    }
    called = (tmp_path / "args").read_text().split()
    assert called == ["-m", "sagan.train", *arguments]
    assert "train.strategy='multi_worker'" in called[3]
