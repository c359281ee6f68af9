"""Images from TensorFlow Datasets, checked before anything is read."""

import difflib
import functools
import os

import numpy as np
import tensorflow as tf


class TfdsImages:
    """One split of a dataset that TensorFlow Datasets has prepared.

    Attributes:
        name: The dataset's name without its configuration.
        size: Number of examples in the split.
        num_classes: Number of classes, 0 if examples have no class label.
        place: The dataset's full name and its folder, for messages.
        fix: What to do if files in it are damaged or gone.

    Args:
        name: A name TFDS knows, such as "cifar10" or "lsun/bedroom".
        split: A split or a slice of one, such as "train[:90%]".
        data_dir: Folder of prepared datasets. `None`: `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.
        download: Whether to download and prepare what is missing.

    Raises:
        FileNotFoundError: If `data_dir` does not exist, or the dataset is not
            prepared there and `download` is false.
        OSError: If its description cannot be read.
        RuntimeError: If the download fails.
        ValueError: If the name or the split is unknown, or the dataset has no
            uint8 image of 1 or 3 channels under the key "image".
    """

    def __init__(self, name: str, split: str, data_dir=None, download=False):
        # Here, as it takes long to import and other sources do without.
        import tensorflow_datasets as tfds

        data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
        if data_dir and not download and not os.path.isdir(data_dir):
            raise FileNotFoundError(
                f"data_dir {str(data_dir)!r} does not exist (looked in "
                f"{os.getcwd()!r}). Give the folder of prepared datasets, or "
                "add --download to make it."
            )
        builder = _find_builder(tfds, name, data_dir)
        _check_image(tfds, name, builder.info.features)
        if not builder.is_prepared():
            if not download:
                raise FileNotFoundError(_how_to_prepare(builder, data_dir))
            _prepare(builder)
        self.name = builder.name
        folder = str(builder.data_dir)
        self.place = f"Dataset {builder.info.full_name} in {folder!r}"
        self.fix = _how_to_repair(folder)
        self.size = _count_examples(builder, split)
        features = dict(builder.info.features.items())
        self._image, label = features["image"], features.get("label")
        is_class = isinstance(label, tfds.features.ClassLabel)
        self.num_classes = label.num_classes if is_class else 0
        wanted = {"image": True, **({"label": True} if is_class else {})}
        self._split = split
        self._open = functools.partial(
            builder.as_dataset,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                wanted, decoders={"image": tfds.decode.SkipDecoding()}
            ),
            read_config=tfds.ReadConfig(try_autocache=False),
        )
        self._cut = functools.partial(tfds.even_splits, split)

    def encoded(self) -> tf.data.Dataset:
        """All examples in their stored order, images still encoded.

        Returns:
            A dataset of `(bytes, label)`; label int32, 0 without classes, and
            -1 in some unlabelled test splits.
        """
        return self._open(split=self._split).map(_encoded_pair)

    def shards(self, count: int) -> list[tf.data.Dataset]:
        """`encoded()` cut into parts, each of which reads its files alone."""
        return [
            self._open(split=part).map(_encoded_pair)
            for part in self._cut(count)
        ]

    def decode(self, encoded):
        """Encoded image to uint8 `[height, width, 1 or 3]`, in TensorFlow."""
        return self._image.decode_example(encoded)

    def examples(self) -> tf.data.Dataset:
        """All examples in their stored order: `(image, label)`."""

        def decode_pair(encoded, label):
            return self.decode(encoded), label

        return self.encoded().map(
            decode_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )


def _encoded_pair(example):
    label = tf.cast(example.get("label", 0), tf.int32)
    return example["image"], label


def _find_builder(tfds, name, data_dir):
    known = None
    try:
        return tfds.builder(name, data_dir=data_dir, try_gcs=False)
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
    # JSON, protobuf and TFDS each have their own for a damaged description.
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
                + _how_to_repair(folder)
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
    text = (
        f"Dataset {builder.info.full_name} is not prepared: looked in "
        f"{str(builder.data_dir)!r}. Prepare it by adding --download to the "
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


def _how_to_repair(folder):
    return (
        f"Put its files back as they were, or delete {folder!r} and add "
        "--download to the same command to prepare it anew."
    )


def _load_name(builder):
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else builder.name


def _prepare(builder):
    try:
        builder.download_and_prepare()
    # Anything may fail in there: network, quota, checksums, disk, parsing.
    except Exception as error:
        _remove_empty(str(builder.data_dir), str(builder._data_dir_root))
        raise RuntimeError(
            f"Downloading {builder.info.full_name} failed: "
            f"{type(error).__name__}: {str(error)[:300]}\nIf the host refuses "
            "or limits downloads (Google Drive does, for celeb_a), fetch the "
            "images by another way, unpack them in a folder and use "
            "make_dataset.name = 'folder:PATH'."
        ) from error


def _remove_empty(folder, root):
    """Removes `folder` and its parents below `root` as far as they are empty.

    A failed download leaves empty folders that look like a dataset.
    """
    while os.path.normpath(folder) != os.path.normpath(root):
        if os.path.isdir(folder):
            if os.listdir(folder):
                return
            os.rmdir(folder)
        folder = os.path.dirname(folder)


def _count_examples(builder, split):
    try:
        size = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{builder.info.full_name} has no split {split!r}; it has "
            f"{list(builder.info.splits)} and slices such as 'train[:90%]'."
        ) from error
    return int(size)
