"""The folder of a run: checked before long work, and held by one process."""

import contextlib
import fcntl
import os
import pathlib

_LOCK_FILE = ".lock"


def check_writable(workdir: str | os.PathLike, flag: str = "--workdir") -> None:
    """Checks, without making it, that a folder can be made and written to.

    Args:
        workdir: The folder.
        flag: Where it was given, for the message.

    Raises:
        ValueError: If it cannot.
    """
    existing = pathlib.Path(workdir).absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        problem = "is no folder" if existing.is_file() else "cannot be written"
        raise ValueError(f"{flag}={workdir} does not do: {existing} {problem}.")


@contextlib.contextmanager
def hold(workdir: str | os.PathLike):
    """Makes the folder and keeps other processes out while inside.

    The lock ends with the process, however it ends.

    Raises:
        ValueError: If another process holds the folder.
    """
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with (workdir / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"Another process is training in {workdir}: stop it, or give "
                "another --workdir."
            ) from error
        yield
