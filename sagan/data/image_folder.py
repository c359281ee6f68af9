"""A folder of image files, with or without one sub-folder per class."""

import os
import pathlib
import stat
import warnings

import numpy as np
import tensorflow as tf
from absl import logging
from PIL import Image, ImageOps

from sagan.data.readers import call_python

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")

# Whatever a file's name says. Pillow hands some other formats to external
# programs: PostScript, in a file of any name, would be run by Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")

# Files whose headers claim more are refused undecoded: the largest photographs
# have 200 million, and a few KB may claim any number.
MAX_PIXELS = 200_000_000

# Pillow warns above its limit and refuses above twice that.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2

warnings.simplefilter("ignore", Image.DecompressionBombWarning)


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
        place: The folder, for messages.
        fix: What to do if files in it are damaged or missing.

    Raises:
        FileNotFoundError: If the folder does not exist.
        PermissionError: If it, or a folder in it, is not readable.
        ValueError: If it contains no images.
    """

    def __init__(self, path: str):
        self.path = pathlib.Path(path).expanduser()
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"No folder {str(self.path)!r} (looked in {os.getcwd()!r}); "
                "name='folder:PATH' needs a folder of images."
            )
        self.place = f"Folder {str(self.path)!r}"
        self.fix = "Put the file back."
        self.files, others = _list_files(self.path)
        if not self.files:
            raise ValueError(
                f"{self.place} holds no images: expected files that end in "
                f"{', '.join(IMAGE_SUFFIXES)}, found {others} other files. "
                "Point 'folder:PATH' at the images."
            )
        tops = [
            name.split("/")[0] if "/" in name else "" for name in self.files
        ]
        names = sorted(set(tops))
        self.class_names = [] if "" in names else names
        if "" in names and len(names) > 1:
            logging.warning(
                "Folder %s holds images both directly and in sub-folders: "
                "all are used, without classes.",
                self.path,
            )
        numbers = {name: i for i, name in enumerate(self.class_names)}
        self.labels = np.array([numbers.get(t, 0) for t in tops], np.int32)
        self._reasons = {}

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

    def examples(self) -> tf.data.Dataset:
        """Returns all readable images in order: `(image, label)`.

        Unreadable files are skipped and remembered for `drop_unreadable`,
        which must follow a full pass.
        """

        def try_load(index):
            try:
                return self._read(index), self.labels[index], True
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
    """Returns sorted image paths below `root`, and the count of other files."""
    images, others, seen = [], 0, set()
    for folder, subfolders, names in os.walk(
        root, onerror=_refuse, followlinks=True
    ):
        status = os.stat(folder)
        identity = status.st_dev, status.st_ino
        if identity in seen:
            logging.warning("%r leads back to a folder that is read.", folder)
            subfolders.clear()
            continue
        seen.add(identity)
        # Sorted, so that a folder is always reached by the same path.
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        relative = pathlib.Path(folder).relative_to(root)
        for name in names:
            if name.startswith("."):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.append((relative / name).as_posix())
            else:
                others += 1
    return sorted(images), others


def _refuse(error):
    raise PermissionError(
        f"The folder {error.filename!r} cannot be listed ({error.strerror}): "
        "make it readable, or move it away."
    ) from error


def _one_line(error):
    text = str(error).split("\n")[0]
    return f"{type(error).__name__}: {text:.300}"


def read_image(path) -> np.ndarray:
    """Reads an image file of any mode as uint8 RGB `[height, width, 3]`.

    Applies the EXIF orientation, composites transparency on white, takes the
    first frame of an animation and scales 16-bit grey to 8 bits.

    Raises:
        OSError, SyntaxError, ValueError: If the file cannot be decoded.
        Image.DecompressionBombError: If it has more than `MAX_PIXELS`.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("no regular file")  # Opening a pipe would block.
    with Image.open(path, formats=_FORMATS) as image:
        image.load()
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            grey = np.asarray(image).astype(np.float32) / 257.0
            grey = np.rint(grey.clip(0, 255)).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        return np.array(image.convert("RGB"))
