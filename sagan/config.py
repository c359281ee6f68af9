"""Reading gin configs, with errors that help."""

import dataclasses
import difflib
import functools
import importlib.util  # noqa: F401  gin uses it without importing it.
import inspect
import math
import numbers
import pathlib
import re
import tokenize
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal

import gin
from gin import config_parser

CONFIG_FILE = "config.gin"
OPERATIVE_CONFIG_FILE = "operative_config.gin"


# Parameters of `train` that a step depends on.
_STEP = (
    "d_steps",
    "seed",
    "ema_decay",
    "ema_start",
    "jit_compile",
    "joint_batch",
    "deterministic",
    "accumulation",
    "tensor_float_32",
)
_FOLDER = "folder:"
_PROJECT = pathlib.Path(__file__).resolve().parents[1]


def check_size(sizes, image_size, attention_resolutions) -> None:
    """Checks the size of a network's images and where it has attention.

    Raises:
        ValueError: If the size is not among `sizes`, or the resolutions are
            no tuple.
    """
    if image_size not in sizes:
        raise ValueError(
            f"image_size is {image_size!r}: expected one of {sorted(sizes)}."
        )
    if not isinstance(attention_resolutions, (tuple, list)):
        raise ValueError(
            f"attention_resolutions is {attention_resolutions!r}: expected a "
            "tuple such as (32,), or () for none."
        )


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


class _Macro:
    def __init__(self, name):
        self.name = name


class Literals(config_parser.ParserDelegate):
    """Reads values without resolving what they refer to."""

    def configurable_reference(self, scoped_name, evaluate):
        return f"@{scoped_name}{'()' if evaluate else ''}"

    def macro(self, scoped_name):
        return _Macro(scoped_name)


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
    bound = gin.get_bindings("train")
    train = inspect.unwrap(gin.get_configurable("train"))
    parameters = inspect.signature(train).parameters
    return {name: bound.get(name, parameters[name].default) for name in _STEP}


def check_places(
    files: Sequence[str], bindings: Iterable[str], data_dir: str | None
) -> None:
    """Refuses a config, or one it includes, that lies in a folder of data.

    Nothing that the configs import is imported yet. A folder that holds this
    project as well is no folder of data alone, and is left out.

    Args:
        files: Paths of the configs.
        bindings: Those of the command line, in gin.
        data_dir: Folder of prepared TFDS data sets, if one was given.

    Raises:
        ValueError: If one does, symbolic links resolved.
    """
    configs, names = [], []
    for file in files:
        _read(pathlib.Path(file), configs, names)
    names += _scan("\n".join(bindings))[1]
    folders = [pathlib.Path(name).expanduser().resolve() for name in names]
    if data_dir:
        folders.append(pathlib.Path(data_dir).expanduser().resolve())
    for config in configs:
        for folder in folders:
            if folder in (_PROJECT, *_PROJECT.parents):
                continue
            if folder in config.resolve().parents:
                raise ValueError(
                    f"The config {str(config)!r} lies in the data folder "
                    f"{str(folder)!r}. A config can run code, so none is taken "
                    "from where data are: read it, then move it elsewhere."
                )


def _read(file, configs, names):
    """Adds a config and those it includes, and the image folders they name."""
    if file in configs or not file.is_file():
        return
    configs.append(file)
    includes, folders = _scan(file.read_text(errors="replace"))
    names += folders
    for include in includes:
        _read(pathlib.Path(include), configs, names)


def _scan(text):
    """Returns the files that gin text includes and the image folders in it."""
    includes, folders = [], []
    try:
        for statement in config_parser.ConfigParser(text, Literals()):
            if isinstance(statement, config_parser.IncludeStatement):
                includes.append(statement.filename)
            value = getattr(statement, "value", None)
            if isinstance(value, str) and value.startswith(_FOLDER):
                folders.append(value.removeprefix(_FOLDER))
    except (SyntaxError, ValueError, tokenize.TokenError):
        pass  # Gin reads no farther, and says why.
    return includes, folders


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """Annotates the smallest value of an integer."""

    least: int


@dataclasses.dataclass(frozen=True)
class Range:
    """Annotates the values of a number: from `least` to below `below`."""

    least: float
    below: float = math.inf


Count = Annotated[int, AtLeast(1)]
Natural = Annotated[int, AtLeast(0)]
Fraction = Annotated[float, Range(0, 1)]
NonNegative = Annotated[float, Range(0)]


def checked(function: Callable) -> Callable:
    """Decorates a function whose arguments are checked by their annotations.

    Those are `bool`, `Literal`, `Annotated` integers and numbers as above, and
    each of them `| None`; what has another annotation is not checked. It goes
    below `gin.configurable`, and leaves the signature as it is.

    Raises:
        ValueError: At a call, if an argument is not what its annotation asks
            for, naming the parameter, the value and what was expected.
    """
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)

    @functools.wraps(function)
    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            expected = mismatch(value, hints.get(name))
            if expected:
                raise ValueError(
                    f"{function.__name__}.{name} is {value!r}: expected "
                    f"{expected}."
                )
        return function(*args, **kwargs)

    call.__signature__ = signature
    return call


def mismatch(value, hint):
    """Returns what was expected, or None if a value fits its annotation.

    Any value fits an annotation that `checked` does not know.

    Args:
        value: Any value.
        hint: An annotation, see `checked`.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = [kind for kind in arguments if kind is not types.NoneType]
        if value is None and len(kinds) < len(arguments):
            return None
        return mismatch(value, kinds[0]) if len(kinds) == 1 else None
    if hint is bool:
        return None if isinstance(value, bool) else "True or False"
    if origin is Literal:
        fits = any(value is x or value == x for x in arguments)
        return None if fits else f"one of {', '.join(map(str, arguments))}"
    if origin is not Annotated:
        return None
    limit = arguments[1]
    if isinstance(limit, AtLeast):
        fits = isinstance(value, numbers.Integral) and value >= limit.least
        expected = f"an integer of at least {limit.least}"
    else:
        fits = (
            isinstance(value, numbers.Real)
            and limit.least <= value < limit.below
        )
        expected = f"a number of at least {limit.least}"
        if limit.below < math.inf:
            expected = f"a number from {limit.least} to below {limit.below}"
    return expected if isinstance(value, bool) or not fits else None
