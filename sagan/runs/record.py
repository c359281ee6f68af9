"""What a run's folder says of how the run came about."""

import datetime
import pathlib
import subprocess
import sys

import gin
import keras
import tensorflow as tf
from absl import logging

from sagan.config import CONFIG_FILE, OPERATIVE_CONFIG_FILE, parse_config
from sagan.runs.files import append_json, read_json, write_text
from sagan.runs.machine import describe_machine
from sagan.runs.resume import check_resumable

SESSIONS_FILE = "sessions.jsonl"


# A run goes on with as large a share of its images more or fewer: some files
# may have gone bad. More is another data set.
_TOLERATED_CHANGE = 0.01


def check_config(workdir) -> None:
    """Checks that the run in `workdir` was made with the config of now.

    Call it when everything configurable has been called.

    Raises:
        ValueError: If a hyperparameter differs, naming each.
    """
    for name in (OPERATIVE_CONFIG_FILE, CONFIG_FILE):
        path = pathlib.Path(workdir) / name
        # A crash of the machine can leave a file without content.
        if path.exists() and path.stat().st_size:
            check_resumable(path.read_text(), gin.operative_config_str())
            return
    logging.warning(
        "%s has lost its record of the config: it goes on under that of now, "
        "unchecked.",
        workdir,
    )


def record_config(workdir) -> None:
    """Writes the config as asked, and with all defaults filled in."""
    workdir = pathlib.Path(workdir)
    write_text(workdir / CONFIG_FILE, gin.config_str())
    write_text(workdir / OPERATIVE_CONFIG_FILE, gin.operative_config_str())


def check_images(workdir, num_images: int) -> None:
    """Checks that a run goes on with as many images as its last session had.

    A few more or fewer are reported: the order of all of them is another.

    Raises:
        ValueError: If the number differs by more than one in a hundred.
    """
    before = _images_before(pathlib.Path(workdir) / SESSIONS_FILE)
    if before in (None, num_images):
        return
    text = (
        f"The data set has {num_images} images, and had {before} in the last "
        f"session of {workdir}"
    )
    if abs(num_images - before) > _TOLERATED_CHANGE * before:
        raise ValueError(
            f"{text}: a run goes on with the data it was started on. Put them "
            "back as they were, or start anew with another --workdir."
        )
    logging.warning(
        "%s: the run goes on, but from here on their order is another.", text
    )


def record_session(workdir, step: int, num_images: int, **more) -> None:
    """Adds a line on this process: when, what command, on what, from where.

    Args:
        workdir: The run's folder.
        step: Where the process starts or goes on.
        num_images: Size of the data set.
        **more: What else to note, as JSON takes it.
    """
    session = {
        "started": datetime.datetime.now(datetime.UTC).isoformat(
            "T", "seconds"
        ),
        "step": step,
        "images": num_images,
        "command": sys.argv,
        "commit": source_commit(),
        "python": sys.version.split()[0],
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "machine": describe_machine(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        **more,
    }
    append_json(pathlib.Path(workdir) / SESSIONS_FILE, session)


def _images_before(path):
    """Returns the number of images of the last session that has it, or None."""
    # Sessions of older versions do not say.
    known = [line["images"] for line in read_json(path) if "images" in line]
    return known[-1] if known else None


def parse_recorded_config(workdir, bindings=(), data_dir=None) -> None:
    """Parses the config that a run's folder holds.

    Args:
        workdir: The run's folder.
        bindings: Override it, as in `sagan.config.parse_config`.
        data_dir: Where TFDS data sets are, and no config is taken from.

    Raises:
        ValueError: If the folder holds none or lies among the data, or a
            binding is wrong.
    """
    path = pathlib.Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"{workdir} is not the folder of a run: it has no {CONFIG_FILE}."
        )
    parse_config([str(path)], bindings, data_dir)


def source_commit() -> str | None:
    """Returns the commit of the source tree, with `+` if it has changes."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40"],
            cwd=pathlib.Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
