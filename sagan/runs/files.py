"""Atomic file writes, the lock of a run, and errors of the disk."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import tempfile

from absl import logging

# Prefix of the names of files that are not complete yet.
PARTIAL = ".partial_"
_LOCK_FILE = ".lock"
# Errors of a file system without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Errors of a file system that takes no more, and the remedy.
_REMEDIES = {
    errno.ENOSPC: "Make room",
    errno.EDQUOT: "Make room within the quota",
    errno.EROFS: "Make it writable",
}


def write_text(path, text: str) -> None:
    """Writes a small text file atomically."""
    with whole_file(path) as partial:
        partial.write_text(text)


@contextlib.contextmanager
def whole_file(path):
    """Yields a temporary path to write, which is then renamed to `path`.

    So `path` is never half a file, whenever the process is killed. Both names
    have the same suffix. It may be a folder, which replaces an older one.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file, each its own. Cut, as a name may be
    # as long as a file system takes.
    partial = path.with_name(f"{PARTIAL}{os.getpid()}_{path.name[-50:]}")
    try:
        yield partial
        old = partial.with_name(f"{partial.name}_old")
        if partial.is_dir() and path.is_dir():
            os.replace(path, old)  # A folder is renamed to an empty one only.
        os.replace(partial, path)
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)
        raise


def append_json(path: pathlib.Path, values: dict[str, object]) -> None:
    """Appends a line of JSON to a file.

    If a process was killed while writing the previous line, only that line is
    lost.
    """
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(values) + "\n")


def read_json(path: pathlib.Path) -> list[dict[str, object]]:
    """Returns the lines of a file of JSON objects; torn ones are skipped."""
    lines = []
    text = path.read_text(errors="replace") if path.exists() else ""
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return [line for line in lines if isinstance(line, dict)]


def file_sha256(*paths) -> str:
    """Returns the SHA-256 of files, one after another, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def check_writable(workdir: str | os.PathLike, flag: str = "--workdir") -> None:
    """Checks that a folder can be created and written to; creates nothing.

    Args:
        workdir: The folder.
        flag: Flag that gave it, for the message.

    Raises:
        ValueError: If it cannot.
    """
    existing = pathlib.Path(workdir).absolute()
    # That of pathlib raises where a folder may not be entered.
    while not os.path.exists(existing) and existing != existing.parent:
        existing = existing.parent
    problem = None if existing.is_dir() else "is no folder"
    if not problem:
        try:
            # Permissions do not tell all; this file never has a name.
            tempfile.TemporaryFile(dir=existing).close()
        except OSError:
            problem = "cannot be written"
    if problem:
        raise ValueError(
            f"{flag}={workdir} cannot be used: {existing} {problem}. Give "
            "another."
        )


@contextlib.contextmanager
def explain_write_errors(workdir: str | os.PathLike):
    """Turns errors of a full or read-only disk into one clear error.

    Python, Pillow and TensorFlow each raise their own, and few name the place.

    Raises:
        OSError: In place of such an error; others stay as they are.
    """
    try:
        yield
    except Exception as error:
        for number, remedy in _REMEDIES.items():
            if os.strerror(number) in str(error):
                place = _mount_point(workdir)
                free = shutil.disk_usage(place).free / 1e6
                raise OSError(
                    f"{os.strerror(number)}: a file in {workdir} could not be "
                    f"written (file system {place}, {free:.1f} MB free). "
                    f"{remedy}, then run the same command again: what is "
                    "there is whole, and a run resumes from its newest "
                    "checkpoint."
                ) from error
        raise


@contextlib.contextmanager
def lock_run(workdir: str | os.PathLike):
    """Creates the folder of a run and locks it against other processes.

    The lock ends with the process, however it ends. Where the file system has
    no locks, a warning says so. Half-written files of a killed process are
    removed.

    Raises:
        ValueError: If another process or user holds the folder.
        OSError: See `explain_write_errors`.
    """
    workdir = pathlib.Path(workdir)
    with explain_write_errors(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        with _open_lock(workdir) as file:
            _lock(file, workdir)
            _remove_partial_files(workdir)
            yield


def _open_lock(workdir):
    try:
        return (workdir / _LOCK_FILE).open("w")
    except PermissionError as error:
        raise ValueError(
            f"{workdir / _LOCK_FILE} may not be written: it is another "
            "user's run. Give another --workdir."
        ) from error


def _lock(file, workdir):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ValueError(
            f"Another process is training in {workdir}: stop it, or give "
            "another --workdir."
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logging.warning(
            "The file system of %s has no locks (%s): make sure that no "
            "other process trains there.",
            workdir,
            error.strerror,
        )


def _remove_partial_files(workdir):
    for pattern in (f"{PARTIAL}*", f"*/{PARTIAL}*"):
        for path in workdir.glob(pattern):
            if path.is_file():
                path.unlink()


def _mount_point(path):
    path = pathlib.Path(path).absolute()
    while not os.path.ismount(path):
        path = path.parent
    return path
