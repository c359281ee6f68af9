"""Paths that users give: expanded, local, and never taken for patterns."""

import contextlib
import pathlib
import re
import tempfile
from collections.abc import Iterator

# Characters that TensorFlow and TFDS may read as a pattern.
_PATTERN = frozenset("[]*?\\{}")


def local_path(text: str, name: str) -> str:
    """Returns a path with `~` expanded.

    Args:
        text: The path.
        name: Flag or setting that gave it, for the message.

    Raises:
        ValueError: If it is empty or has a scheme, such as gs://.
    """
    if not text.strip():
        raise ValueError(f"{name} is empty: give a path, such as '.'.")
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text):
        raise ValueError(
            f"{name} is {text!r}, but files are read and written on local "
            f"file systems only: mount the {scheme[1]} storage, or copy."
        )
    if "\0" in text:
        raise ValueError(f"{name} is {text!r}, which has a null character.")
    return str(pathlib.Path(text).expanduser())


@contextlib.contextmanager
def plain_path(path) -> Iterator[pathlib.Path]:
    """Yields a path to the same folder without characters of patterns.

    TensorFlow opens checkpoints and SavedModels by pattern: `run[1]` would be
    sought as `run1`. Such a folder gets a temporary symbolic link.
    """
    path = pathlib.Path(path).absolute()
    if _PATTERN.isdisjoint(str(path)):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder) / "link"
        link.symlink_to(path, target_is_directory=True)
        yield link
