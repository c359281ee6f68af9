"""Finds, checks and prepares builders of TensorFlow Datasets."""

import atexit
import contextlib
import difflib
import os
import tempfile

import numpy as np
from absl import logging

from sagan.config.paths import local_path, plain_path

# Holds links to folders of datasets until the process ends.
_LINKS = contextlib.ExitStack()
atexit.register(_LINKS.close)


def find_builder(name: str, data_dir=None, download=False):
    """Returns the builder of a dataset with usable images, prepared or not.

    Args, Raises: As for `sagan.data.tfds.TfdsImages`.
    """
    import tensorflow_datasets as tfds

    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    data_dir = data_dir and local_path(data_dir, "data_dir")
    if data_dir and not download and not os.path.isdir(data_dir):
        raise FileNotFoundError(
            f"data_dir {os.path.abspath(data_dir)!r} does not exist. Give the "
            "folder of prepared datasets, or add --download to make it."
        )
    if data_dir:
        data_dir = str(_LINKS.enter_context(plain_path(data_dir)))
    builder = _find_builder(tfds, name, data_dir)
    _check_image(tfds, name, builder.info.features)
    return builder


def ensure_prepared(builder, data_dir=None, download=False) -> None:
    """Prepares a dataset if it is missing and may be downloaded.

    Args, Raises: As for `sagan.data.tfds.TfdsImages`.
    """
    if builder.is_prepared():
        return
    if not download:
        raise FileNotFoundError(_how_to_prepare(builder, data_dir))
    _prepare(builder)


def make_builder(name: str, data_dir=None):
    """Returns the builder of a dataset known to TFDS, prepared or not.

    TFDS leaves a temporary folder behind for each unprepared one, so temporary
    folders are created inside one that is removed.
    """
    import tensorflow_datasets as tfds

    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        try:
            tempfile.tempdir = folder
            return tfds.builder(name, data_dir=data_dir, try_gcs=False)
        finally:
            tempfile.tempdir = before


def how_to_repair(folder: str) -> str:
    """Returns what to do if files of a prepared dataset are damaged."""
    return (
        f"Put its files back as they were, or delete {folder!r} and add "
        "--download to the same command to prepare it again."
    )


def _find_builder(tfds, name, data_dir):
    known = None
    try:
        return make_builder(name, data_dir)
    except tfds.core.DatasetNotFoundError:
        problem = f"TensorFlow Datasets knows no dataset {name!r}"
    except ValueError as error:
        dataset = name.split("/")[0]
        if dataset in tfds.list_builders(with_community_datasets=False):
            configs = tfds.builder_cls(dataset).builder_configs
            known = [f"{dataset}/{config}" for config in configs]
        problem = f"TensorFlow Datasets cannot build {name!r}"
        if "BuilderConfig" not in str(error):
            problem += f" ({str(error).strip().splitlines()[0]})"
    # JSON, protobuf and TFDS each raise their own for a damaged description.
    except Exception as error:
        if isinstance(error, ImportError):
            raise
        root = data_dir or tfds.core.constants.DATA_DIR
        folder = os.path.join(os.path.expanduser(root), name)
        reason = str(error).split("\n")[0].rpartition('}": ')[2].rstrip(". ")
        problem = f"TensorFlow Datasets cannot build {name!r} ({reason:.300})"
        if os.path.isdir(folder):
            raise OSError(
                f"{problem}: its description in {folder!r} is damaged. "
                + how_to_repair(folder)
            ) from error
    known = known or tfds.list_builders(with_community_datasets=False)
    near = ", ".join(difflib.get_close_matches(name, known)) or "nothing"
    raise ValueError(
        f"{problem}; close to it: {near}. A folder of images is "
        "name='folder:PATH', and 'synthetic' needs no files."
    )


def _check_image(tfds, name, features):
    keys = list(features.keys()) if hasattr(features, "keys") else []
    if "image" not in keys:
        raise ValueError(
            f"{name!r} has no feature 'image' (it has {keys}); export its "
            "images to a folder and use name='folder:PATH'."
        )
    image = features["image"]
    fits = (
        isinstance(image, tfds.features.Image)
        and np.dtype(image.np_dtype) == np.uint8
        and image.shape[-1] in (1, 3)
    )
    if not fits:
        raise ValueError(
            f"{name!r} has images of the form {image}; expected uint8 with 1 "
            "or 3 channels. Export them to a folder and use "
            "name='folder:PATH'."
        )


def _how_to_prepare(builder, data_dir):
    where = f", data_dir={str(data_dir)!r}" if data_dir else ""
    folder = os.path.realpath(builder.data_dir)
    text = (
        f"Dataset {builder.info.full_name} is not prepared: looked in "
        f"{folder!r}. Prepare it by adding --download to the "
        'same command, or with\n  python -c "import tensorflow_datasets as '
        f'tfds; tfds.load({_load_name(builder)!r}{where})"'
    )
    manual = (builder.MANUAL_DOWNLOAD_INSTRUCTIONS or "").split()
    if manual:
        text += (
            "\nIts files must first be fetched by hand into "
            f"{os.path.join(str(builder._data_dir_root), 'downloads/manual')}: "
            + " ".join(manual)[:400]
        )
    return text


def _load_name(builder):
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _prepare(builder):
    logging.info("Preparing %s.", builder.info.full_name)
    try:
        builder.download_and_prepare()
    # Anything may fail here: network, quota, checksums, disk, parsing.
    except Exception as error:
        _remove_empty(str(builder.data_dir), str(builder._data_dir_root))
        raise RuntimeError(
            f"Downloading {builder.info.full_name} failed: "
            f"{type(error).__name__}: {str(error)[:300]}\nIf the host refuses "
            "or limits downloads (Google Drive does, for celeb_a), fetch the "
            "images another way, unpack them into a folder and use "
            "make_dataset.name = 'folder:PATH'."
        ) from error


def _remove_empty(folder, root):
    """Removes `folder` and its parents below `root` while they are empty.

    A failed download leaves empty folders that look like a dataset.
    """
    while os.path.normpath(folder) != os.path.normpath(root):
        if os.path.isdir(folder):
            if os.listdir(folder):
                return
            os.rmdir(folder)
        folder = os.path.dirname(folder)
