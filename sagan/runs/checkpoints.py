"""Checkpoints: writing, keeping and restoring them.

A checkpoint is a folder `step_00001000`. It is written under another name and
renamed when complete, so a folder of that name is a whole checkpoint whatever
moment the process was killed at.
"""

import os
import pathlib
import re
import shutil
import tempfile

import numpy as np
import tensorflow as tf
from absl import logging
from tensorflow.core.protobuf.trackable_object_graph_pb2 import (
    TrackableObjectGraph,
)

from sagan.config.paths import plain_path
from sagan.runs.files import PARTIAL

# In a run's folder.
CHECKPOINT_FOLDER = "checkpoints"
_FOLDER = re.compile(r"step_(\d+)$")
_DAMAGED = "damaged_"
# Of the files in that folder.
_PREFIX = "checkpoint"
# Errors that reading a truncated, altered or incomplete file raises,
_DAMAGE = (tf.errors.OpError, IndexError)
# and errors about the machine rather than the file.
_NO_DAMAGE = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnavailableError,
    tf.errors.CancelledError,
)
_SHOWN = 3


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        directory: Folder of the checkpoints; created if absent.
        contents: Trackable objects by name; `GAN.trackables()`.
        keep_last: Number of newest checkpoints to keep.
        keep_every: Checkpoints at multiples of this step are kept too; 0 for
            none.
    """

    def __init__(self, directory, contents, keep_last=3, keep_every=0):
        self.directory = pathlib.Path(directory)
        self.keep_last = keep_last
        self.keep_every = keep_every
        self.contents = tf.train.Checkpoint(**contents)
        self.directory.mkdir(parents=True, exist_ok=True)
        for leftover in self.directory.glob(f"{PARTIAL}*"):
            shutil.rmtree(leftover)

    def save(self, step: int) -> pathlib.Path:
        """Writes a checkpoint and deletes those no longer kept."""
        folder = _folder(self.directory, step)
        partial = self.directory / f"{PARTIAL}{folder.name}"
        try:
            self.contents.write(str(partial / _PREFIX))
            _flush(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        if folder.exists():
            _remove(folder)
        os.replace(partial, folder)
        self._delete_old()
        return folder

    def newest(self) -> pathlib.Path | None:
        """Returns the newest checkpoint's folder, or None."""
        steps = checkpoint_steps(self.directory)
        return _folder(self.directory, steps[-1]) if steps else None

    def restore_latest(self) -> int | None:
        """Restores the newest readable checkpoint.

        One that cannot be read is reported, and set aside under the name
        `damaged_...` if one before it can.

        Returns:
            Its step, or None if there is no checkpoint.

        Raises:
            ValueError: If there are checkpoints and none can be read, or one
                does not fit `contents`.
        """
        steps = checkpoint_steps(self.directory)
        damaged = []
        for step in reversed(steps):
            folder = _folder(self.directory, step)
            try:
                _read(self.contents, folder).assert_consumed()
            except _NO_DAMAGE:
                raise
            except _DAMAGE as error:
                logging.error(
                    "Checkpoint %s is damaged (%s). The one before it is used.",
                    folder,
                    _first_line(error),
                )
                damaged.append(folder)
                continue
            except AssertionError as error:
                problem = _misfit(self.contents, folder, error)
                raise ValueError(problem) from error
            for folder in damaged:
                aside = folder.with_name(f"{_DAMAGED}{folder.name}")
                shutil.rmtree(aside, ignore_errors=True)
                os.replace(folder, aside)
            return step
        if steps:
            raise ValueError(
                f"None of the {len(steps)} checkpoints in {self.directory} can "
                "be read. Start again with another --workdir."
            )
        return None

    def _delete_old(self):
        steps = checkpoint_steps(self.directory)
        for step in steps[: -self.keep_last]:
            if not self.keep_every or step % self.keep_every:
                _remove(_folder(self.directory, step))


def checkpoint_steps(directory) -> list[int]:
    """Returns the steps that have a checkpoint, ascending."""
    matches = (
        _FOLDER.match(path.name) for path in pathlib.Path(directory).glob("*")
    )
    return sorted(int(match[1]) for match in matches if match)


def restore_generator(directory, generator, step=None, ema=True) -> int:
    """Fills a generator from a checkpoint, for sampling; see `restore_network`.

    Args:
        directory: Folder of the checkpoints.
        generator: A built `Generator` of the run's shape.
        step: Step of the checkpoint; None for the newest.
        ema: Whether to take the moving average of the weights.
    """
    name = "ema_generator" if ema else "generator"
    return restore_network(directory, generator, name, step)


def restore_network(directory, network, name, step=None) -> int:
    """Fills a network from a checkpoint; changes no file.

    Args:
        directory: Folder of the checkpoints.
        network: A built network of the run's shape.
        name: Its name among `GAN.trackables()`.
        step: Step of the checkpoint; None for the newest.

    Returns:
        The step of the checkpoint.

    Raises:
        ValueError: If there is no such checkpoint, it cannot be read, or it
            does not fit the network.
    """
    steps = checkpoint_steps(directory)
    if not steps:
        raise ValueError(
            f"There is no checkpoint in {directory}: train first, or check "
            "--workdir."
        )
    if step is None:
        step = steps[-1]
    if step not in steps:
        raise ValueError(
            f"There is no checkpoint of step {step} in {directory}. Available: "
            f"{', '.join(map(str, steps))}."
        )
    folder = _folder(pathlib.Path(directory), step)
    checkpoint = tf.train.Checkpoint(**{name: network})
    try:
        status = _read(checkpoint, folder)
        status.assert_existing_objects_matched().expect_partial()
    except AssertionError as error:
        raise ValueError(_misfit(checkpoint, folder, error)) from error
    except _NO_DAMAGE:
        raise
    except _DAMAGE as error:
        raise ValueError(
            f"Checkpoint {folder} is damaged ({_first_line(error)}). Take "
            f"another with --step; there are {', '.join(map(str, steps))}."
        ) from error
    # TensorFlow does not mind what a network has no place for.
    held = variable_shapes(folder)
    if sum(key.startswith(f"{name}/") for key in held) > len(network.weights):
        raise ValueError(_misfit(checkpoint, folder, ""))
    return step


def read_checkpoint(directory, step=None) -> dict[str, np.ndarray]:
    """Returns the variables of a checkpoint by their paths, without networks.

    Args:
        directory: Folder of the checkpoints.
        step: Step of the checkpoint; None for the newest.
    """
    if step is None:
        step = checkpoint_steps(directory)[-1]
    with plain_path(_folder(pathlib.Path(directory), step)) as path:
        reader = tf.train.load_checkpoint(str(path / _PREFIX))
        return {name: reader.get_tensor(k) for name, k in _keys(reader).items()}


def _folder(directory, step):
    return directory / f"step_{step:08d}"


def _remove(folder):
    """Deletes a checkpoint; cut short, it leaves none that looks whole."""
    # Not the name that a checkpoint has while it is written.
    partial = folder.with_name(f"{PARTIAL}old_{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    os.replace(folder, partial)
    shutil.rmtree(partial)


def _read(checkpoint, folder):
    """Reads what a folder holds; returns TensorFlow's status of it."""
    try:
        with plain_path(folder) as path:
            return checkpoint.read(str(path / _PREFIX))
    except ValueError as error:  # Shapes differ.
        raise ValueError(_misfit(checkpoint, folder, error)) from error


def _misfit(checkpoint, folder, error):
    difference = describe_misfit(folder, checkpoint)
    return (
        f"Checkpoint {folder} is of a network that differs from the config's. "
        f"{difference or _first_line(error)} Use the run's own settings; of "
        "the pointwise implementations, 'grouped' and 'depthwise' have kernels "
        "of their own and read no other's. A checkpoint of another version of "
        "this code needs that version, which sessions.jsonl names."
    )


def _flush(folder):
    """Makes sure the files are on disk before their folder gets its name."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _first_line(error):
    return str(error).splitlines()[0][:200] if str(error) else type(error)


def describe_misfit(folder, contents: tf.train.Checkpoint) -> str:
    """Describes which variables differ: a few of each kind, and how many.

    Those of an optimiser follow its network, and are compared only where the
    networks agree.

    Args:
        folder: Folder of the checkpoint.
        contents: Checkpoint that it should have filled.

    Returns:
        Sentences; empty if all names and shapes agree.
    """
    with tempfile.TemporaryDirectory() as expected_folder:
        contents.write(str(pathlib.Path(expected_folder) / _PREFIX))
        expected = variable_shapes(expected_folder)
    parts = {name.partition("/")[0] for name in expected}
    found = {
        name: shape
        for name, shape in variable_shapes(folder).items()
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


def variable_shapes(folder) -> dict[str, list[int]]:
    """Returns the shapes of the variables in a checkpoint's folder, by path."""
    with plain_path(folder) as path:
        reader = tf.train.load_checkpoint(str(path / _PREFIX))
        shapes = reader.get_variable_to_shape_map()
        return {name: shapes[key] for name, key in _keys(reader).items()}


def _keys(reader):
    """Returns the keys of the tensors by the paths of the variables.

    The keys themselves will not do: they are the shortest paths, through the
    list of an optimiser for most weights of a network.
    """
    keys = reader.get_variable_to_shape_map()
    nodes = TrackableObjectGraph.FromString(
        reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    ).nodes
    found = {}
    visited = {0}
    children = sorted(
        nodes[0].children, key=lambda child: "optimizer" in child.local_name
    )
    for part in children:
        level = [(part.local_name, part.node_id)]
        while level:
            below = []
            for name, number in level:
                if number in visited:
                    continue
                visited.add(number)
                for value in nodes[number].attributes:
                    if value.checkpoint_key in keys:
                        found[name] = value.checkpoint_key
                # Keras has private lists of what has a name of its own.
                below += [
                    (f"{name}/{child.local_name}", child.node_id)
                    for child in sorted(
                        nodes[number].children,
                        key=lambda child: child.local_name.startswith("_"),
                    )
                ]
            level = below
    return found
