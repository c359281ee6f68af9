"""Records the config and environment of a run."""

import datetime
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence

import gin
import keras
import tensorflow as tf
from absl import logging

from sagan.config import CONFIG_FILE, OPERATIVE_CONFIG_FILE, parse_config
from sagan.runs.files import append_json, read_json, write_text
from sagan.runs.machine import describe_machine
from sagan.runs.resume import check_resumable

SESSIONS_FILE = "sessions.jsonl"
# Share of its images that a run may have lost or gained when it resumes: some
# files may have gone bad. More is another dataset.
_TOLERATED_CHANGE = 0.01


def check_config(workdir) -> None:
    """Checks that the run in `workdir` was started with the current config.

    Call it when everything configurable has been called.

    Raises:
        ValueError: If a hyperparameter differs, naming each.
    """
    # The fingerprint tells more of the data than their name does.
    allowed = {"make_dataset.name"} if last_data(workdir) else set()
    for name in (OPERATIVE_CONFIG_FILE, CONFIG_FILE):
        path = pathlib.Path(workdir) / name
        # A crash of the machine can leave a file without content.
        if path.exists() and path.stat().st_size:
            check_resumable(
                path.read_text(), gin.operative_config_str(), allowed
            )
            return
    logging.warning(
        "%s has lost its record of the config: it resumes under the current "
        "one, unchecked.",
        workdir,
    )


def record_config(workdir) -> None:
    """Writes the config as asked, and with all defaults filled in."""
    workdir = pathlib.Path(workdir)
    write_text(workdir / CONFIG_FILE, gin.config_str())
    write_text(workdir / OPERATIVE_CONFIG_FILE, gin.operative_config_str())


def check_data(
    workdir, data: Mapping[str, object], latest: Sequence[str] = ()
) -> None:
    """Checks that a run resumes with the images and labels it was started on.

    Args:
        workdir: Folder of the run.
        data: Description of the dataset, see `ImageDataset.describe`.
        latest: The files modified last, see `Identity`.

    Raises:
        ValueError: If images, labels or class names differ, showing how; runs
            of older versions recorded only the number of images.
    """
    before = last_data(workdir)
    if before is None:
        check_images(workdir, data["images"])
    elif before["fingerprint"] != data["fingerprint"]:
        names = ("name", "images", "classes", "counts")
        changed = [
            f"  {name}: {before.get(name)} -> {data[name]}"
            for name in names
            if None not in (before.get(name), data[name])
            and before[name] != data[name]
        ]
        if changed in ([], changed[:1]) and before["images"] == data["images"]:
            changed.append("  the images themselves, or their labels")
        if latest:
            changed.append(f"  modified last: {', '.join(latest)}")
        raise ValueError(
            f"The data differ from those of the last session of {workdir}, "
            f"{_last_session(workdir)['started']}:\n"
            + "\n".join(changed)
            + "\nA run resumes with the data it was started on. Put them back "
            "as they were, or start again with another --workdir."
        )
    else:
        check_images(workdir, data["images"])
        _check_unchanged(workdir, before, data)


def _check_unchanged(workdir, before, data):
    """Warns of what the fingerprint does not show."""
    if before.get("modified", data["modified"]) != data["modified"]:
        logging.warning(
            "Files of %s have other modification times than in the last "
            "session of %s. A copy has; but if images were overwritten by "
            "others of the same size, start again with another --workdir.",
            *(data["name"], workdir),
        )
    if before.get("order", data["order"]) != data["order"]:
        logging.warning(
            "make_dataset.cache has changed since the last session of %s: from "
            "here on, %s is read in another order.",
            *(workdir, data["name"]),
        )


def last_data(workdir) -> dict[str, object] | None:
    """Returns the description of the data in the last session that has one."""
    return _last_session(workdir).get("data")


def _last_session(workdir):
    """Returns the last line of a session that describes its data, or {}."""
    lines = read_json(pathlib.Path(workdir) / SESSIONS_FILE)
    known = [line for line in lines if line.get("data")]
    return known[-1] if known else {}


def class_numbers(workdir, classes: Sequence[str], count: int) -> list[int]:
    """Returns the labels of classes given by name or by number.

    Args:
        workdir: Folder of the run, whose record has the names.
        classes: Names or numbers.
        count: Number of classes of the networks.

    Raises:
        ValueError: If there is no such class, showing those there are.
    """
    names = (last_data(workdir) or {}).get("classes", [])
    numbers = []
    for name in classes:
        number = names.index(name) if name in names else name
        if str(number) not in map(str, range(count)):
            known = ", ".join(names) or f"0 to {count - 1}"
            raise ValueError(
                f"The run in {workdir} has no class {name!r}: "
                + (f"expected some of {known}." if count else "it has none.")
            )
        numbers.append(int(number))
    return numbers


def check_images(workdir, num_images: int) -> None:
    """Checks that a run resumes with as many images as its last session had.

    A few more or fewer are reported: the order of all of them changes.

    Raises:
        ValueError: If the number differs by more than one in a hundred.
    """
    lines = read_json(pathlib.Path(workdir) / SESSIONS_FILE)
    # Sessions of older versions do not say.
    known = [line["images"] for line in lines if "images" in line]
    before = known[-1] if known else num_images
    if before == num_images:
        return
    text = (
        f"The dataset has {num_images} images, and had {before} in the last "
        f"session of {workdir}"
    )
    if abs(num_images - before) > _TOLERATED_CHANGE * before:
        raise ValueError(
            f"{text}: a run resumes with the data it was started on. Put them "
            "back as they were, or start again with another --workdir."
        )
    logging.warning(
        "%s: the run resumes, but from here on their order differs.", text
    )


def record_session(workdir, step: int, num_images: int, **more) -> None:
    """Adds a line about this process: time, command, machine, versions.

    Args:
        workdir: Folder of the run.
        step: Step at which the process starts or resumes.
        num_images: Size of the dataset.
        **more: Further values, as JSON takes them.
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


def parse_recorded_config(workdir, bindings=(), data_dir=None) -> None:
    """Parses the config in the folder of a run.

    Args:
        workdir: Folder of the run.
        bindings: Override it, as in `sagan.config.parse_config`.
        data_dir: Folder of TFDS datasets, from which no config is taken.

    Raises:
        ValueError: If the folder holds none or lies among the data, or a
            binding is wrong.
    """
    path = pathlib.Path(workdir) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"{workdir} is not the folder of a run: it has no {CONFIG_FILE}."
        )
    parse_config([str(path)], bindings, data_dir, recorded=True)


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
