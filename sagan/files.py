"""Files that are whole or not there, whenever the process is killed."""

import contextlib
import os
import pathlib

# How the name of what is not whole yet begins.
PARTIAL = ".partial_"


def write_text(path, text: str) -> None:
    """Writes a small text file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text)


@contextlib.contextmanager
def whole_file(path):
    """Yields a path to write to, whose file then becomes that of `path`.

    So there is never half a file under the name `path`, whatever moment the
    process is killed at. Both names end alike.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same file, each its own.
    partial = path.with_name(f"{PARTIAL}{os.getpid()}_{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
