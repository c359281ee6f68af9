"""Where configs may lie: a config can run code, so in no folder of data."""

import pathlib
import tokenize
from collections.abc import Iterable, Sequence

from gin import config_parser

from sagan.config_changes import Literals

_FOLDER = "folder:"
_PROJECT = pathlib.Path(__file__).resolve().parents[1]


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
