"""How the variables of a checkpoint differ from those it was to fill."""

import pathlib
import tempfile

import tensorflow as tf

from sagan.saved_variables import variable_shapes

_SHOWN = 3


def describe_misfit(path: str, contents: tf.train.Checkpoint) -> str:
    """Says which variables differ: a few of each kind, and how many.

    An optimiser's follow those of its network, and are looked at only where
    the networks agree.

    Args:
        path: Of the checkpoint, as `tf.train.Checkpoint.read` takes it.
        contents: What it was to fill.

    Returns:
        Sentences; empty if all names and shapes agree.
    """
    with tempfile.TemporaryDirectory() as folder:
        prefix = contents.write(str(pathlib.Path(folder) / "contents"))
        expected = variable_shapes(prefix)
    parts = {name.partition("/")[0] for name in expected}
    found = {
        name: shape
        for name, shape in variable_shapes(path).items()
        if name.partition("/")[0] in parts
    }
    networks = {
        name
        for name in expected.keys() | found.keys()
        if "optimizer" not in name.partition("/")[0]
    }
    agree = all(expected.get(name) == found.get(name) for name in networks)
    names = sorted(expected.keys() | found.keys() if agree else networks)
    lost = [f"{name} {found[name]}" for name in names if name not in expected]
    lacking = [
        f"{name} {expected[name]}" for name in names if name not in found
    ]
    other = [
        f"{name} {found[name]}, here {expected[name]}"
        for name in names
        if name in expected and name in found
        if found[name] != expected[name]
    ]
    return " ".join(
        _sentence(title, lines)
        for title, lines in (
            ("Only the checkpoint has", lost),
            ("Only the network has", lacking),
            ("Of other shapes are", other),
        )
        if lines
    )


def _sentence(title, lines):
    more = len(lines) - _SHOWN
    shown = "; ".join(lines[:_SHOWN])
    return f"{title} {shown}{f'; and {more} more' if more > 0 else ''}."
