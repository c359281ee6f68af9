"""Checkpoints: what they hold, how they are written, kept and restored.

A checkpoint is a folder `step_00001000`. It is written under another name and
renamed when complete, so a folder of that name is a whole checkpoint whatever
moment the process was killed at.
"""

import os
import pathlib
import re
import shutil

import numpy as np
import tensorflow as tf
from absl import logging

from sagan.files import PARTIAL
from sagan.misfit import describe_misfit
from sagan.saved_variables import read_variables, variable_shapes

# In a run's folder.
CHECKPOINT_FOLDER = "checkpoints"
_FOLDER = re.compile(r"step_(\d+)$")
_DAMAGED = "damaged_"
# What reading a truncated, altered or incomplete file was seen to raise,
_DAMAGE = (tf.errors.OpError, IndexError)
# and what says something of the machine rather than of the file.
_NO_DAMAGE = (
    tf.errors.ResourceExhaustedError,
    tf.errors.PermissionDeniedError,
    tf.errors.UnavailableError,
    tf.errors.CancelledError,
)


class Checkpoints:
    """The checkpoints of one training run.

    Args:
        directory: Where they are; made if absent.
        contents: Trackable objects by name; `GAN.trackables()`.
        keep_last: How many of the newest stay on disk.
        keep_every: Checkpoints at multiples of this step stay too; 0 for none.

    Raises:
        ValueError: If `keep_last` is not positive.
    """

    def __init__(self, directory, contents, keep_last=3, keep_every=0):
        if keep_last < 1:
            raise ValueError(f"keep_last is {keep_last}: expected at least 1.")
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
            self.contents.write(str(partial / "checkpoint"))
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
                "be read. Start anew with another --workdir."
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
    """Fills a generator from a checkpoint, for sampling; changes no file.

    Args:
        directory: Where the checkpoints are.
        generator: A built `Generator` of the run's shape.
        step: Which checkpoint; None for the newest.
        ema: Whether to take the moving average of the weights.

    Returns:
        The step of the checkpoint.

    Raises:
        ValueError: If there is no such checkpoint, it cannot be read, or it
            does not fit the generator.
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
            f"There is no checkpoint of step {step} in {directory}. There are "
            f"{', '.join(map(str, steps))}."
        )
    folder = _folder(pathlib.Path(directory), step)
    name = "ema_generator" if ema else "generator"
    checkpoint = tf.train.Checkpoint(**{name: generator})
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
    held = variable_shapes(str(folder / "checkpoint"))
    if sum(key.startswith(f"{name}/") for key in held) > len(generator.weights):
        raise ValueError(_misfit(checkpoint, folder, ""))
    return step


def read_checkpoint(directory, step=None) -> dict[str, np.ndarray]:
    """Returns the variables of a checkpoint by their paths, without networks.

    Args:
        directory: Where the checkpoints are.
        step: Which checkpoint; None for the newest.
    """
    if step is None:
        step = checkpoint_steps(directory)[-1]
    return read_variables(
        str(_folder(pathlib.Path(directory), step) / "checkpoint")
    )


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
        return checkpoint.read(str(folder / "checkpoint"))
    except ValueError as error:  # Shapes differ.
        raise ValueError(_misfit(checkpoint, folder, error)) from error


def _misfit(checkpoint, folder, error):
    difference = describe_misfit(str(folder / "checkpoint"), checkpoint)
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
