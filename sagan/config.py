"""Reading gin configs, with errors that help."""

import difflib
import importlib.util  # noqa: F401  gin uses it without importing it.
import inspect
import pathlib
import re
from collections.abc import Iterable, Sequence

import gin

from sagan.config_places import check_places

CONFIG_FILE = "config.gin"
OPERATIVE_CONFIG_FILE = "operative_config.gin"


def parse_config(
    files: Sequence[str],
    bindings: Iterable[str] = (),
    data_dir: str | None = None,
) -> None:
    """Parses gin files and bindings, replacing whatever was bound before.

    Gin files import modules and call what is in them: to parse one is to run
    code.

    Args:
        files: Paths; a later one overrides an earlier one.
        bindings: `"train.num_steps = 10"` or, for a macro, `"NUM_STEPS=10"`;
            they override the files.
        data_dir: Where TFDS data sets are, if that was given.

    Raises:
        ValueError: If a file is missing, a line is no gin, or a name is
            unknown, with file, line and the nearest known name; or if a file
            lies among the data.
    """
    if not files:
        raise ValueError(
            "No config was given: pass --gin_config, for example "
            "--gin_config=configs/synthetic.gin."
        )
    for file in files:
        if not pathlib.Path(file).is_file():
            raise ValueError(_explain_file(file))
    bindings = list(bindings)
    check_places(files, bindings, data_dir)
    gin.clear_config()
    try:
        gin.parse_config_files_and_bindings(files, bindings)
    except SyntaxError as error:
        raise ValueError(_explain_syntax(error)) from error
    except ValueError as error:
        message = _explain_name(str(error), files, bindings)
        raise ValueError(message) from error
    _check_macros(files, bindings)
    _check_order(files)


def config_name(files: Sequence[str]) -> str:
    """Returns the name of a stack of configs, for files and folders."""
    return "-".join(pathlib.Path(file).stem for file in files)


def _explain_syntax(error: SyntaxError) -> str:
    where = f"{error.filename or 'bindings'}, line {error.lineno}"
    line = (error.text or "").strip()
    return (
        f"Cannot read the config ({where}): {line or error.msg}\n"
        "Strings need quotes (POINTWISE='matmul'), and booleans are True and "
        "False."
    )


def _explain_name(
    message: str, files: Sequence[str], bindings: Sequence[str]
) -> str:
    """Adds the nearest known name to gin's message for an unknown one."""
    unknown, known = None, []
    function = re.search(r"No configurable matching '([^']*)'", message)
    parameter = re.search(
        r"Configurable '([^']*)' doesn't have a parameter named '([^']*)'",
        message,
    )
    if function:
        unknown = function[1]
        known = [
            name.rpartition(".")[2] for name, _ in gin.config._REGISTRY.items()
        ]
    elif parameter:
        unknown = parameter[2]
        function = gin.get_configurable(parameter[1])
        known = inspect.signature(inspect.unwrap(function)).parameters
    elif undefined := re.search(
        r"No bindings specified for '([^/]*)/", message
    ):
        unknown = undefined[1]
        known = _bound_macros()
        place = _place_of(rf"[^#]*%{unknown}\b", files, bindings)
        message = f"No macro %{unknown} is defined: {place} uses it."
    nearest = difflib.get_close_matches(unknown or "", known, n=1, cutoff=0.5)
    hint = f"\nDid you mean {nearest[0]!r}?" if nearest else ""
    return message.strip() + hint


def _explain_file(file: str) -> str:
    """Says that a config is missing, and what its folder has instead."""
    path = pathlib.Path(file)
    folder = path if path.is_dir() else path.parent
    known = sorted(str(other) for other in folder.glob("*.gin"))
    nearest = difflib.get_close_matches(file, known, n=1, cutoff=0.5)
    return f"Config file {file!r} does not exist. " + (
        f"Did you mean {nearest[0]!r}?"
        if nearest
        else f"{folder} has {', '.join(known) or 'no .gin file'}."
    )


def _check_order(files: Sequence[str]) -> None:
    """Refuses a file of which later ones override every line."""
    bound = [
        set(
            re.findall(
                r"^([\w./]+) *=", pathlib.Path(file).read_text(), re.MULTILINE
            )
        )
        for file in files
    ]
    for i, file in enumerate(files):
        later = set().union(*bound[i + 1 :])
        if bound[i] and bound[i] <= later:
            raise ValueError(
                f"{file} has no effect: the configs after it bind all that it "
                "does. Give it last."
            )


def _check_macros(files: Sequence[str], bindings: Sequence[str]) -> None:
    """Refuses a macro that nothing uses: gin takes any name."""
    used = set(re.findall(r"%([A-Za-z_]\w*)", gin.config_str()))
    for name in sorted(_bound_macros() - used):
        place = _place_of(rf"\s*{name}\s*=", files, bindings)
        nearest = difflib.get_close_matches(name, used, n=1, cutoff=0.5)
        raise ValueError(
            f"Nothing uses the macro {name!r} of {place}. "
            + (f"Did you mean {nearest[0]!r}? " if nearest else "")
            + f"This config uses {', '.join(sorted(used)) or 'no macro'}."
        )


def _bound_macros() -> set[str]:
    config = gin.config_str()
    return set(re.findall(r"^([A-Za-z_]\w*) = ", config, re.MULTILINE))


def _place_of(
    pattern: str, files: Sequence[str], bindings: Sequence[str]
) -> str:
    """Says where a pattern matches last: in a binding, or a line of a file."""
    pattern = re.compile(pattern)
    for number in range(len(bindings), 0, -1):
        binding = bindings[number - 1]
        if pattern.match(binding):
            return f"--gin_bindings, number {number} ({binding.strip()!r})"
    for file in reversed(files):
        lines = pathlib.Path(file).read_text().splitlines()
        for number in range(len(lines), 0, -1):
            line = lines[number - 1]
            if pattern.match(line):
                return f"{file}, line {number} ({line.strip()!r})"
    return "an included file"
