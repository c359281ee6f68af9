"""Image files of any kind as uint8 RGB."""

import io
import os
import stat
import warnings

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
IMAGE_SUFFIXES = (".png", ".bmp", ".gif", ".webp", *JPEG_SUFFIXES)
# Whatever a file's name says. Pillow reads others by programs of the machine:
# PostScript, in a file of any name, would be run by Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
# A file whose header claims more is refused before it is decoded: the largest
# photographs have 200 million, and a few KB may claim any number.
MAX_PIXELS = 200_000_000
# What libjpeg gives all channels of a missing block, and the side of a block.
_FILL, _EDGE = 128, 8
# Markers of JPEG. In the data of a scan, 0xff is followed by other bytes.
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_ZEROS = bytes(64)
# Pillow warns above its own limit, and refuses what is above twice that.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


def read_image(path) -> np.ndarray:
    """Reads an image file of any mode as uint8 RGB `[height, width, 3]`.

    Turned upright by its EXIF orientation; transparency is laid on white; of
    an animation the first frame; 16 bits are scaled to 8.

    Raises:
        OSError, SyntaxError, ValueError: If the file cannot be decoded.
        Image.DecompressionBombError: If it has more than `MAX_PIXELS`.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("no regular file")  # A pipe would be waited for.
    with open(path, "rb") as file:
        content = file.read()
    try:
        opened = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:  # Whose message names a BytesIO.
        raise UnidentifiedImageError("no image of a known format") from None
    with opened as image:
        image.load()
        if image.format == "PNG" and "transparency" in image.info:
            image = _with_alpha(image, content)
        if image.format == "BMP" and _is_all_transparent(image):
            image = image.convert("RGB")
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


def looks_cut_short(image: np.ndarray) -> bool:
    """Whether an edge is of the grey with which libjpeg fills what is missing.

    It does so for a JPEG that was cut and closed by an end marker, without an
    error. A frame of this very grey looks the same.

    Args:
        image: `[height, width, 3]`, uint8; of any orientation.
    """
    edges = image[-_EDGE:], image[:_EDGE], image[:, -_EDGE:], image[:, :_EDGE]
    grey = [(edge == _FILL).all() for edge in edges]
    return any(grey) and not (image == _FILL).all()


def ends_in_zeros(file: io.BufferedIOBase) -> bool:
    """Whether the rest of a JPEG file was lost and is zeros, without its end.

    libjpeg decodes zeros to a pattern of the file's own tables. Zeros behind
    an end marker are padding. Of a whole file, only the end is read.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - len(_ZEROS)))
    if file.read() != _ZEROS:
        return False
    file.seek(0)
    scan = file.read().rpartition(_SCAN)[2]
    return scan.endswith(_ZEROS) and _END not in scan


def _with_alpha(image, content):
    """Decodes a PNG with a transparent colour, in all of its bits.

    Pillow compares that colour, given in the bits of the file, with pixels
    scaled to 8 bits (PNG specification, section 11.3.2.1).
    """
    if image.mode == "P":
        return image
    pixels = tf.io.decode_png(content, channels=4, dtype=tf.uint16).numpy()
    pixels = np.rint(pixels / 257.0).astype(np.uint8)
    decoded = Image.fromarray(pixels, "RGBA")
    if "exif" in image.info:
        decoded.info["exif"] = image.info["exif"]
    return decoded


def _is_all_transparent(image):
    """Whether nothing would be seen: such an alpha channel is left unused."""
    return image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
