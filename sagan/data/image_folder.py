"""A folder of image files, with or without one sub-folder per class."""

import collections
import os
import pathlib

import numpy as np
import tensorflow as tf
from absl import logging

from sagan.data.fingerprint import Identity, hash_files
from sagan.data.image_files import (
    IMAGE_SUFFIXES,
    JPEG_SUFFIXES,
    ends_in_zeros,
    looks_cut_short,
    read_image,
)
from sagan.data.readers import call_python

# Folders of other programs, besides hidden ones.
_IGNORED = ("@", "__MACOSX")
_SPLITS = {
    "train", "training", "val", "valid", "validation", "dev", "test", "testing",
}  # fmt: skip


class ImageFolder:
    """The image files below a folder, in sorted order.

    A file's class is the sub-folder of `path` that contains it, at any depth;
    classes are numbered by sorted name. If `path` itself contains images there
    are no classes. Hidden files and folders are ignored, and a folder reached
    by several links is read once.

    Attributes:
        path: The folder.
        files: Paths relative to it.
        class_names: Names of the classes; empty if there are none.
        num_classes: Number of classes.
        labels: Class of each file, int32 `[size]`; zeros without classes.
        empty: Sub-folders without images, and what they contain.
        place: The folder, for messages.
        fix: What to do if files in it are damaged or missing.

    Raises:
        FileNotFoundError: If the folder does not exist.
        PermissionError: If it, or a folder in it, is not readable.
        ValueError: If it contains no images.
    """

    def __init__(self, path: str):
        self.path = pathlib.Path(path)
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"No folder {str(self.path.absolute())!r}: "
                "'folder:PATH' needs a folder of images."
            )
        self.place = f"Folder {str(self.path)!r}"
        self.fix = "Put the file back."
        self.files, tops, others = _list_files(self.path)
        if not self.files:
            raise ValueError(
                f"{self.place} holds no images: expected files that end in "
                f"{', '.join(IMAGE_SUFFIXES)}, found {_describe(others)}. "
                "Point 'folder:PATH' at the images."
            )
        if others:
            logging.info("%s: left out %s.", self.place, _describe(others))
        used = [_top(name) for name in self.files]
        self.class_names = [] if "" in used else sorted(set(used))
        if "" in used and len(set(used)) > 1:
            logging.warning(
                "Folder %s holds images both directly and in sub-folders: "
                "all are used, without classes.",
                self.path,
            )
        self.empty = {
            top: _describe({k: n for k, n in others.items() if k[0] == top})
            for top in tops
            if top not in used
        }
        if empty := [t for t, what in self.empty.items() if what == _NOTHING]:
            logging.info("%s: %s empty.", self.place, ", ".join(empty))
        numbers = {name: i for i, name in enumerate(self.class_names)}
        self.labels = np.array([numbers.get(t, 0) for t in used], np.int32)
        self._reasons = {}
        self._extremes = []
        self._cut = []

    def identity(self) -> Identity:
        """Returns what distinguishes the images; reads a few of them."""
        fingerprint, times, latest = hash_files(
            self.path, self.files, self.class_names
        )
        return Identity(
            *(f"folder:{self.path}", fingerprint, self.class_names, times),
            latest=latest,
        )

    def check_classes(self) -> None:
        """Checks that the sub-folders are classes with images.

        Raises:
            ValueError: If one contains other files only, or they are splits.
        """
        if len(self.class_names) > 1 and _SPLITS.issuperset(
            name.lower() for name in self.class_names
        ):
            raise ValueError(
                f"{self.place} has the sub-folders "
                f"{', '.join(self.class_names)}: splits rather than classes. "
                f"Write 'folder:{self.path / self.class_names[0]}', or set "
                "num_classes = 0 to use all of them."
            )
        for name, content in self.empty.items():
            if content != _NOTHING:
                raise ValueError(
                    f"Sub-folder {name!r} of {self.path} has no image that can "
                    f"be read, but {content}: convert them, or move it away."
                )

    @property
    def extremes(self) -> tuple[int, int]:
        """The smallest and the largest value of all pixels read so far."""
        lowest, highest = zip(*(self._extremes or [(0, 255)]), strict=True)
        return min(lowest), max(highest)

    @property
    def size(self) -> int:
        return len(self.files)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def load(self, index):
        """Loads the image and label at `index`, as TensorFlow operations.

        Returns:
            uint8 `[height, width, 3]`, sizes unknown, and int32 `[]`.
        """

        def load(index):
            try:
                return self._read(index), self.labels[index], b""
            except Exception as error:
                text = f"{self.path / self.files[index]}: {_one_line(error)}"
                nothing = np.zeros([1, 1, 3], np.uint8), np.int32(0)
                return *nothing, os.fsencode(text)

        types = [tf.uint8, tf.int32, tf.string]
        image, label, problem = call_python(load, [index], types)
        # An exception in `load` would print tracebacks on the terminal.
        check = tf.debugging.Assert(tf.equal(problem, ""), [problem])
        with tf.control_dependencies([check]):
            image, label = tf.identity(image), tf.identity(label)
        image.set_shape([None, None, 3])
        label.set_shape([])
        return image, label

    def _read(self, index):
        return read_image(self.path / self.files[index])

    def _is_cut(self, index, image):
        name = self.files[index]
        if not name.lower().endswith(JPEG_SUFFIXES):
            return False
        if looks_cut_short(image):
            return True
        with open(self.path / name, "rb") as file:
            return ends_in_zeros(file)

    def examples(self) -> tf.data.Dataset:
        """Returns all readable images in order: `(image, label)`.

        Unreadable files are skipped and remembered for `drop_unreadable`,
        which must follow a full pass.
        """

        def try_load(index):
            try:
                image = self._read(index)
                self._extremes.append((image.min(), image.max()))
                if self._is_cut(index, image):
                    self._cut.append(self.files[index])
                return image, self.labels[index], True
            # Pillow's decoders raise many types on broken files.
            except Exception as error:
                self._reasons[int(index)] = _one_line(error)
                return np.zeros([1, 1, 3], np.uint8), np.int32(0), False

        def load(index):
            types = [tf.uint8, tf.int32, tf.bool]
            image, label, readable = call_python(try_load, [index], types)
            image.set_shape([None, None, 3])
            label.set_shape([])
            readable.set_shape([])
            return image, label, readable

        def is_readable(image, label, readable):
            return readable

        def drop_flag(image, label, readable):
            return image, label

        data = tf.data.Dataset.range(self.size).map(
            load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return data.filter(is_readable).map(drop_flag)

    def warn_of_cut_files(self) -> None:
        """Names the JPEG files of a pass that look cut short."""
        if cut := sorted(self._cut):
            logging.warning(
                "%d JPEG files in %r are grey along an edge or end in zeros, "
                "like files that were cut short: %s%s. They are used: delete "
                "those that are damaged.",
                *(len(cut), str(self.path), ", ".join(map(repr, cut[:20]))),
                "; and more" * (len(cut) > 20),
            )

    def drop_unreadable(self, max_unreadable: float) -> None:
        """Removes the files that a pass over `examples` could not read.

        Args:
            max_unreadable: Largest tolerated fraction of all files.

        Raises:
            ValueError: If there are more.
        """
        if not self._reasons:
            return
        bad = sorted(self._reasons)
        # Quoted: names may contain line breaks and bytes that are not text.
        listing = [f"{self.files[i]!r} ({self._reasons[i]})" for i in bad]
        text = (
            f"{len(bad)} of {self.size} images in {str(self.path)!r} cannot "
            f"be read: {'; '.join(listing[:20])}"
        )
        if len(bad) > 20:
            text += f"; and {len(bad) - 20} more"
        if len(bad) > max_unreadable * self.size:
            raise ValueError(
                f"{text}. At most {max_unreadable:.2%} is tolerated: repair "
                "or delete them, or raise make_dataset.max_unreadable."
            )
        logging.warning("%s. They are skipped.", text)
        keep = [i for i in range(self.size) if i not in self._reasons]
        self.files = [self.files[i] for i in keep]
        self.labels = self.labels[keep]
        self._reasons = {}


def _list_files(root):
    """Lists what is below a folder.

    Returns:
        Sorted paths of images; names of the sub-folders; number of other files
        by sub-folder and suffix.
    """
    images, tops, others = [], None, collections.Counter()
    seen = set()
    for folder, subfolders, names in os.walk(
        root, onerror=_refuse, followlinks=True
    ):
        status = os.stat(folder)
        place = status.st_dev, status.st_ino
        if place in seen:
            logging.warning("%r leads back to a folder that is read.", folder)
            subfolders.clear()
            continue
        seen.add(place)
        # Sorted, so that a folder is always reached by the same path.
        subfolders[:] = sorted(
            s for s in subfolders if not s.startswith((".", *_IGNORED))
        )
        tops = subfolders.copy() if tops is None else tops
        # Joined as text: a path object for each file takes half of the time.
        prefix = (pathlib.Path(folder).relative_to(root) / "x").as_posix()[:-1]
        for name in names:
            if name.startswith("."):
                continue
            path = prefix + name
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.append(path)
            else:
                others[_top(path), pathlib.Path(name).suffix.lower()] += 1
    return sorted(images), tops, others


_NOTHING = "no files"


def _top(path):
    """Returns the first folder of a relative path, "" for a file's name."""
    return path.split("/")[0] if "/" in path else ""


def _describe(others):
    """Says how many files there are of which suffix."""
    counts = collections.Counter()
    for (_, suffix), number in others.items():
        counts[suffix or "without suffix"] += number
    listing = [f"{n} {suffix}" for suffix, n in counts.most_common()]
    return ", ".join(listing) or _NOTHING


def _refuse(error):
    raise PermissionError(
        f"The folder {error.filename!r} cannot be listed ({error.strerror}): "
        "make it readable, or move it away."
    ) from error


def _one_line(error):
    text = str(error).split("\n")[0]
    return f"{type(error).__name__}: {text:.300}"
