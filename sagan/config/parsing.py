"""Parses gin configs, with errors that help."""

import difflib
import importlib.util  # noqa: F401  gin uses it without importing it.
import inspect
import itertools
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

import gin
from gin import config_parser

from sagan.config.paths import FOLDER
from sagan.config.statements import (
    Piece,
    Statement,
    read_pieces,
    read_statements,
)

CONFIG_FILE = "config.gin"
OPERATIVE_CONFIG_FILE = "operative_config.gin"
# Parameters of `train` that a step depends on.
_STEP = (
    "d_steps",
    "seed",
    "ema_decay",
    "ema_half_life",
    "ema_start",
    "jit_compile",
    "joint_batch",
    "deterministic",
    "accumulation",
    "tensor_float_32",
)
_PROJECT = pathlib.Path(__file__).resolve().parents[2]


def parse_config(
    files: Sequence[str],
    bindings: Iterable[str] = (),
    data_dir: str | None = None,
    recorded: bool = False,
) -> None:
    """Parses gin files and bindings, replacing whatever was bound before.

    Gin files import modules and call what is in them: to parse one is to run
    code. An included file is looked for beside the file that includes it, then
    in the current folder.

    Args:
        files: Paths; a later one overrides an earlier one.
        bindings: `"train.num_steps = 10"` or, for a macro, `"NUM_STEPS=10"`;
            they override the files.
        data_dir: Folder of TFDS datasets, if given.
        recorded: Whether the files are the record of a run, in which a macro
            may have lost its use to a binding.

    Raises:
        ValueError: If a file is missing or is not text, a line is not gin, a
            name is unknown or nothing uses it, with file, line and the nearest
            known name; or if a file lies among the data.
    """
    if not files:
        raise ValueError(
            "No config was given: pass --gin_config, for example "
            "--gin_config=configs/synthetic.gin."
        )
    bindings = [binding.strip() for binding in bindings]
    sources = [list(read_pieces(pathlib.Path(file))) for file in files]
    pieces = [piece for source in sources for piece in source]
    statements = [read_statements(source) for source in sources]
    overrides = [
        statement._replace(place=f"--gin_bindings, number {i} ({binding!r})")
        for i, binding in enumerate(bindings, 1)
        for statement in read_statements([Piece(binding)])
    ]
    for statement in overrides:
        if isinstance(statement.content, config_parser.IncludeStatement):
            raise ValueError(
                f"{statement.place} includes a file: give it as --gin_config."
            )
    everything = [*itertools.chain(*statements), *overrides]
    _check_places({piece.name for piece in pieces}, everything, data_dir)
    gin.clear_config()
    try:
        for piece in pieces:
            gin.parse_config(piece.copy())
        gin.parse_config(bindings)
        gin.finalize()
    except ImportError as error:
        raise ValueError(_explain_import(error, everything)) from error
    except ValueError as error:
        raise ValueError(_explain_name(str(error), everything)) from error
    _check_scopes(everything)
    _check_macros(overrides if recorded else everything, everything)
    _check_order(files, statements)


def config_name(files: Sequence[str]) -> str:
    """Returns the name of a stack of configs, for files and folders."""
    return "-".join(pathlib.Path(file).stem for file in files)


def _explain_import(error: ImportError, statements: Sequence[Statement]) -> str:
    problem = str(error).splitlines()[0]
    module = re.search(r"'([^']+)'", problem)
    places = [
        statement.place
        for statement in statements
        if isinstance(statement.content, config_parser.ImportStatement)
        and module
        and f"{statement.content.module}.".startswith(f"{module[1]}.")
    ]
    place = places[0] if places else "a module that the config imports"
    return f"{problem}: it is imported by {place}."


def _explain_name(message: str, statements: Sequence[Statement]) -> str:
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
        known = [s.bound for s in statements if s.is_macro]
        uses = (s for s in statements if f"%{unknown}" in s.references())
        place = next((s.place for s in uses), "a value")
        message = f"No macro %{unknown} is defined: {place} uses it."
    return message.strip() + _did_you_mean(unknown or "", known)


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a hint at the nearest known name, whatever its case."""
    by_lower = {other.lower(): other for other in known}
    nearest = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff=0.5)
    return f"\nDid you mean {by_lower[nearest[0]]!r}?" if nearest else ""


def _check_scopes(statements: Sequence[Statement]) -> None:
    """Refuses a binding in a scope that no value refers to."""
    used = {
        scope
        for statement in statements
        for reference in statement.references()
        # Within `a/b` the bindings of `a` hold as well.
        for scope in itertools.accumulate(
            reference.removeprefix("@").split("/")[:-1], "{}/{}".format
        )
    }
    for statement in statements:
        if not statement.bound or statement.is_macro:
            continue
        scope, _, name = statement.bound.rpartition("/")
        if scope and scope not in used:
            raise ValueError(
                f"Nothing uses the scope {scope!r} of {statement.place}: bind "
                f"{name} without it."
            )


def _check_macros(
    checked: Sequence[Statement], statements: Sequence[Statement]
) -> None:
    """Refuses a macro that nothing uses: gin takes any name."""
    used = {
        reference.removeprefix("%")
        for statement in statements
        for reference in statement.references()
        if reference.startswith("%")
    }
    for statement in reversed(checked):
        if statement.is_macro and statement.bound not in used:
            hint = _did_you_mean(statement.bound, used).strip()
            raise ValueError(
                f"Nothing uses the macro {statement.bound!r} of "
                f"{statement.place}. {hint and hint + ' '}This config uses "
                f"{', '.join(sorted(used)) or 'no macro'}."
            )


def _check_order(
    files: Sequence[str], statements: Sequence[Sequence[Statement]]
) -> None:
    """Refuses a file of which later ones override every binding."""
    bound = [{s.bound for s in part if s.bound} for part in statements]
    for i, file in enumerate(files):
        later = set().union(*bound[i + 1 :])
        if bound[i] and bound[i] <= later:
            raise ValueError(
                f"{file} has no effect: the configs after it bind all that it "
                "does. Give it last."
            )


def _check_places(
    configs: Iterable[str],
    statements: Sequence[Statement],
    data_dir: str | None,
) -> None:
    """Refuses a config, or one it includes, that lies in a folder of data.

    Nothing that the configs import is imported yet. A folder that holds this
    project as well is no folder of data alone, and is left out.
    """
    values = (getattr(s.content, "value", None) for s in statements)
    folders = [
        value.removeprefix(FOLDER)
        for value in values
        if isinstance(value, str) and value.startswith(FOLDER)
    ]
    for name in [*folders, *([data_dir] if data_dir else [])]:
        folder = pathlib.Path(os.path.expanduser(name)).resolve()
        if folder in (_PROJECT, *_PROJECT.parents):
            continue
        for config in configs:
            if folder in pathlib.Path(config).resolve().parents:
                raise ValueError(
                    f"The config {config!r} lies in the data folder "
                    f"{str(folder)!r}. A config can run code, so none is taken "
                    "from where data are: read it, then move it elsewhere."
                )


def config_batch_size() -> int:
    """Returns the images a batch that the config asks for.

    Raises:
        ValueError: If it leaves that open.
    """
    try:
        return gin.get_bindings("make_dataset")["batch_size"]
    except KeyError:
        raise ValueError(
            "The config does not bind make_dataset.batch_size: expected a "
            "positive integer, as in "
            "--gin_bindings=make_dataset.batch_size=64."
        ) from None


def train_settings() -> dict[str, object]:
    """Returns the settings of `train` that a step depends on."""
    return settings_of("train", _STEP)


def settings_of(function: str, names: Iterable[str]) -> dict[str, object]:
    """Returns settings of a function by name, as bound or by default."""
    bound = gin.get_bindings(function)
    original = inspect.unwrap(gin.get_configurable(function))
    parameters = inspect.signature(original).parameters
    return {name: bound.get(name, parameters[name].default) for name in names}
