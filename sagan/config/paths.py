"""Paths that users give: expanded, local, and never taken for patterns."""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

# Characters that TensorFlow and TFDS may read as a pattern.
_PATTERN = frozenset("[]*?\\{}")
# What names of datasets that are folders start with.
FOLDER = "folder:"
# Bytes of the name of a file or folder.
_LONGEST = 255


def local_path(text: str, name: str) -> str:
    """Returns a path with `~` expanded.

    Args:
        text: The path.
        name: Flag or setting that gave it, for the message.

    Raises:
        ValueError: If it is empty, has a scheme, such as gs://, or a name that
            no file system takes.
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
    longest = max(len(os.fsencode(part)) for part in text.split("/"))
    if longest > _LONGEST:
        raise ValueError(
            f"{name} has a name of {longest} bytes, {text[:40]!r}...: file "
            f"systems take {_LONGEST}."
        )
    # Unlike that of pathlib, it leaves an unknown user's name alone.
    return str(pathlib.Path(os.path.expanduser(text)))


def image_folder(dataset_name: str) -> str | None:
    """Returns PATH of a dataset named "folder:PATH"; None for other names.

    Raises:
        ValueError: If it is empty or has a scheme, such as gs://.
    """
    if not dataset_name.startswith(FOLDER):
        return None
    path = dataset_name.removeprefix(FOLDER)
    if not path:
        raise ValueError(
            "'folder:' without a path: write 'folder:.' for the current folder."
        )
    return local_path(path, "PATH of 'folder:PATH'")


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
