"""Fingerprints of data: equal where the images and their labels are."""

import dataclasses
import datetime
import hashlib
import heapq
import os
import stat
from collections.abc import Iterable, Sequence

import numpy as np

# Files of which the content is hashed too, and how much of each end.
_FILES = 256
_BYTES = 2**16
_SHOWN = 3
# Names of files may have bytes that are no text.
_ANY_NAME = ("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What distinguishes a dataset from others.

    Attributes:
        full_name: Its name, with config and version.
        fingerprint: Hash that is equal where images and labels are.
        class_names: Names of the classes, in the order of the labels.
        times: Hash of the modification times of its files, which a copy does
            not keep.
        ranges: Parts of files that it reads: name, first example, and the one
            after the last.
        latest: The files modified last, and when, for messages.
    """

    full_name: str
    fingerprint: str
    class_names: Sequence[str] = ()
    times: str = ""
    ranges: Sequence[tuple[str, int, int]] = ()
    latest: Sequence[str] = ()

    def overlaps(self, other: "Identity") -> bool:
        """Whether two splits of a dataset share examples."""
        return any(
            file == other_file and start < other_stop and other_start < stop
            for file, start, stop in self.ranges
            for other_file, other_start, other_stop in other.ranges
        )


def hash_files(
    root: str | os.PathLike, names: Sequence[str], facts: Iterable[str]
) -> tuple[str, str, list[str]]:
    """Hashes a list of files: names, sizes, and the content of some.

    A folder that was moved or copied keeps its fingerprint.

    Args:
        root: Folder of the files.
        names: Their paths in it, in order.
        facts: What else identifies the data, such as labels.

    Returns:
        The fingerprint and a hash of the modification times, which a copy does
        not keep, of 16 hexadecimal digits each; and the files modified last.
    """
    root = os.fspath(root)
    sizes, times = [], []
    for name in names:
        size, time = _status(f"{root}/{name}")
        sizes.append(size)
        times.append(time)
    digest = hashlib.sha256("\0".join([*names, *facts]).encode(*_ANY_NAME))
    digest.update(" ".join(map(str, sizes)).encode())
    last = len(names) - 1
    for i in sorted({round(x) for x in np.linspace(0, last, _FILES)}):
        digest.update(_ends(f"{root}/{names[i]}"))
    modified = hashlib.sha256(" ".join(map(str, times)).encode())
    latest = heapq.nlargest(_SHOWN, zip(times, names, strict=True))
    return (
        digest.hexdigest()[:16],
        modified.hexdigest()[:16],
        [f"{name!r} of {_date(time)}" for time, name in latest],
    )


def _date(nanoseconds):
    date = datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.UTC)
    return date.isoformat("T", "seconds")


def _status(path):
    """Returns size and modification time; of a broken link, zeros."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _ends(path):
    """Returns the ends of a file's content; nothing if it is unreadable."""
    try:
        # Opening a pipe would block.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            start = file.read(_BYTES)
            file.seek(max(_BYTES, os.fstat(file.fileno()).st_size - _BYTES))
            return start + file.read()
    except OSError:
        return b""


def hash_facts(*facts) -> str:
    """Returns the fingerprint of data that facts define: 16 digits."""
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
