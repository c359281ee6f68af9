"""Files that are whole or not there, whenever the process is killed."""

import contextlib
import json
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


def append_json(path: pathlib.Path, values: dict[str, object]) -> None:
    """Adds a line of JSON to a file.

    If a process was killed while it wrote the line before, only that is lost.
    """
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a") as file:
        file.write("\n" * torn + json.dumps(values) + "\n")


def read_json(path: pathlib.Path) -> list[dict[str, object]]:
    """Returns the lines of a file of JSON objects; torn ones are skipped."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(json.JSONDecodeError):
            lines.append(json.loads(text))
    return [line for line in lines if isinstance(line, dict)]
