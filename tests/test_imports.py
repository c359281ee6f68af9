"""Imports go one way, so that any part can be read and used by itself."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "sagan"
COMMANDS = {
    "attention",
    "classifier",
    "evaluate",
    "explore",
    "export",
    "feature_maps",
    "launch",
    "sample",
    "summary",
    "train",
}
PARTS = {
    path.stem
    for path in PACKAGE.iterdir()
    if path.suffix == ".py" or path.is_dir()
} - {"__init__", "__pycache__"}
# What each part may import of ours, itself apart; the rest may import all but
# the commands.
MAY_IMPORT = {
    "cli": {"config"},
    "config": set(),
    "distributed": set(),
    "latents": set(),
    "losses": set(),
    "metrics": set(),
    "data": {"config"},
    "optimizers": {"config"},
    "layers": {"distributed"},
    "runs": {"config", "latents"},
    "discriminator": {"config", "layers"},
    "generator": {"config", "layers"},
    "gradients": {"config", "layers"},
    "objective": {"layers", "losses"},
    "gan": {
        "distributed",
        "gradients",
        "latents",
        "layers",
        "objective",
    },
    "evaluation": PARTS
    - {"explorer", "exporting", "gan", "gradients", "profiling", "training"},
    # Its proof times the export.
    "exporting": PARTS - {"explorer", "gan", "gradients", "training"},
    "explorer": PARTS - {"gan", "gradients", "profiling", "training"},
    "training": PARTS - {"explorer", "exporting", "profiling"},
}
NO_GIN = {
    "gan",
    "gradients",
    "latents",
    "layers",
    "losses",
    "metrics",
    "objective",
}


def imported(path):
    """Yields the names of modules and of what is taken from them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize(
    "path",
    sorted(PACKAGE.rglob("*.py")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_imports_go_one_way(path):
    part = part_of(path)
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "sagan":
            other = rest.split(".")[0]
            assert other not in COMMANDS, name
            allowed = MAY_IMPORT.get(part, PARTS)
            assert other in allowed | {part}, name
        if part in NO_GIN:
            assert first not in ("gin", "absl"), name


def test_no_two_parts_import_each_other():
    """Also by way of others: the parts can be put in an order."""
    imports = {part: set() for part in PARTS}
    for path in PACKAGE.rglob("*.py"):
        for name in imported(path):
            first, _, rest = name.partition(".")
            if first == "sagan":
                imports.setdefault(part_of(path), set()).add(rest.split(".")[0])
    while imports:
        free = [
            part
            for part, others in imports.items()
            if not (others & imports.keys()) - {part}
        ]
        assert free, f"These import each other: {sorted(imports)}"
        for part in free:
            del imports[part]
