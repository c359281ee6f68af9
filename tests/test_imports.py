"""Imports go one way, so that any layer can be read and used by itself."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "sagan"
COMMANDS = {
    "sagan.classifier",
    "sagan.evaluate",
    "sagan.launch",
    "sagan.sample",
    "sagan.summary",
    "sagan.train",
}
# What a module of a name may import of ours; the rest may import anything
# but the commands.
BELOW = {
    "replicas": set(),
    "layers": {"layers", "replicas"},
    "losses": set(),
    "networks": {"layers"},
    "builders": {"networks", "settings"},
    "gradients": {"layers"},
    "latents": set(),
    "moving_average": {"layers"},
    "gan": {
        "gradients",
        "latents",
        "layers",
        "moving_average",
        "objectives",
        "replicas",
    },
    "objectives": {"gradients", "losses"},
    "optimizers": {"settings"},
    "data": {"data", "settings"},
    "checkpoints": {"files", "misfit", "saved_variables"},
    "config": {"config_places"},
    "config_changes": set(),
    "config_places": {"config_changes"},
    "diagnostics": {"layers", "machine", "networks", "optimizers"},
    "files": set(),
    "health": set(),
    "machine": set(),
    "metrics": {"files", "layers", "metrics"},
    "classifier_fit": set(),
    "meeting": set(),
    "misfit": {"saved_variables"},
    "recovery": {"checkpoints", "gan", "workers"},
    "sampling": {"files"},
    "saved_variables": set(),
    "settings": set(),
    "shares": {"data"},
    "workdir": {"files"},
    "worker_processes": {"signals"},
}
NO_GIN = {
    "gan",
    "gradients",
    "latents",
    "layers",
    "losses",
    "metrics",
    "moving_average",
    "networks",
    "objectives",
    "replicas",
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem
)
def test_imports_go_one_way(path):
    part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name in imported(path):
        assert ".".join(name.split(".")[:2]) not in COMMANDS, name
        if name.startswith("sagan.") and part in BELOW:
            assert name.split(".")[1] in BELOW[part], name
        if part in NO_GIN:
            assert name.split(".")[0] not in ("gin", "absl"), name
