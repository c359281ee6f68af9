"""Images from TensorFlow Datasets (TFDS)."""

import functools
import itertools
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from sagan.data.fingerprint import Identity, hash_files
from sagan.data.tfds_builders import (
    ensure_prepared,
    find_builder,
    how_to_repair,
)

# Number of pieces of about equal size whose order is drawn in each epoch. The
# positions of an example in two epochs then mostly correlate by at most
# 1 / sqrt(64). Each piece skips through its file, far faster than reading it.
_PIECES = 64


class TfdsImages:
    """A split of a dataset prepared by TensorFlow Datasets.

    Attributes:
        name: The dataset's name without its configuration.
        size: Number of examples in the split.
        num_classes: Number of classes, 0 if examples have no class label.
        place: The dataset's full name and folder, for messages.
        fix: What to do if files in it are damaged or missing.

    Args:
        name: A name TFDS knows, such as "cifar10" or "lsun/bedroom".
        split: A split or a slice of one, such as "train[:90%]".
        data_dir: Folder of prepared datasets. `None`: `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets`.
        download: Whether to download and prepare what is missing.
        check_classes: Called with the number of classes before a download.

    Raises:
        FileNotFoundError: If `data_dir` does not exist, or the dataset is not
            prepared there and `download` is false.
        OSError: If its description cannot be read.
        RuntimeError: If the download fails.
        ValueError: If the name or the split is unknown, or the dataset has no
            uint8 image of 1 or 3 channels under the key "image".
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir=None,
        download=False,
        check_classes: Callable[[int], None] = lambda number: None,
    ):
        # Slow to import, and other sources do not need it.
        import tensorflow_datasets as tfds

        builder = find_builder(name, data_dir, download)
        features = dict(builder.info.features.items())
        self._image, label = features["image"], features.get("label")
        is_class = isinstance(label, tfds.features.ClassLabel)
        self.num_classes = label.num_classes if is_class else 0
        self.class_names = label.names if is_class else []
        check_classes(self.num_classes)
        ensure_prepared(builder, data_dir, download)
        self.name = builder.name
        folder = str(builder.data_dir)
        self._folder = folder
        # The folder itself, where a link stands for it.
        folder = os.path.realpath(folder) if data_dir else folder
        self.full_name = builder.info.full_name
        self.place = f"Dataset {self.full_name} in {folder!r}"
        self.fix = how_to_repair(folder)
        self.size = _count_examples(builder, split)
        wanted = {"image": True, **({"label": True} if is_class else {})}
        self._split = split
        self._splits = builder.info.splits
        self._even_splits = tfds.even_splits
        self._open = functools.partial(
            builder.as_dataset,
            decoders=tfds.decode.PartialDecoding(
                wanted, decoders={"image": tfds.decode.SkipDecoding()}
            ),
        )
        self._read_config = functools.partial(
            tfds.ReadConfig, try_autocache=False
        )

    def identity(self) -> Identity:
        """Returns what distinguishes the split; reads a little of its files."""
        ranges = [
            (os.path.basename(file.filename), file.skip, file.skip + file.take)
            for file in self._splits[self._split].file_instructions
        ]
        fingerprint, times, latest = hash_files(
            self._folder,
            sorted({name for name, *_ in ranges}),
            (self.full_name, str(ranges), *self.class_names),
        )
        return Identity(
            *(self.full_name, fingerprint, self.class_names, times, ranges),
            latest,
        )

    def encoded(self) -> tf.data.Dataset:
        """Returns all examples in stored order, with images still encoded.

        Returns:
            A dataset of `(bytes, label)`; label int32, 0 without classes, and
            -1 in some unlabelled test splits.
        """
        data = self._open(split=self._split, read_config=self._read_config())
        return data.map(_encoded_pair)

    def shards(self, count: int) -> list[tuple]:
        """Splits `encoded()` into parts that read only their own files.

        Returns:
            For each part its number of examples, and a function from a seed
            (int64 tensor) to a dataset of them in an order drawn from it.
        """
        parts = self._even_splits(self._split, count)
        return [
            (
                self._splits[part].num_examples,
                functools.partial(self._in_drawn_order, part),
            )
            for part in parts
        ]

    # TFDS's functions are of a form that AutoGraph warns of.
    @tf.autograph.experimental.do_not_convert
    def _in_drawn_order(self, part, seed):
        """Returns the examples of a split, with pieces in a drawn order.

        Few pieces are interleaved at a time, since those read together keep
        the order of their examples.
        """
        pieces = _cut(self._splits[part].file_instructions)
        read_config = self._read_config(
            experimental_interleave_sort_fn=lambda _: pieces,
            interleave_cycle_length=max(1, min(16, len(pieces) // 8)),
            shuffle_seed=seed,
            shuffle_reshuffle_each_iteration=False,
            # Some datasets are declared ordered, such as frames of videos.
            enable_ordering_guard=False,
        )
        data = self._open(
            split=part, read_config=read_config, shuffle_files=True
        )
        return data.map(_encoded_pair)

    def decode(self, encoded):
        """Decodes an image to uint8 `[height, width, 1 or 3]`."""
        return self._image.decode_example(encoded)

    def examples(self) -> tf.data.Dataset:
        """Returns all examples in stored order: `(image, label)`."""

        def decode_pair(encoded, label):
            return self.decode(encoded), label

        return self.encoded().map(
            decode_pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )


def _encoded_pair(example):
    label = tf.cast(example.get("label", 0), tf.int32)
    return example["image"], label


def _cut(files):
    """Cuts TFDS's file instructions into pieces of about equal size."""
    largest = -(-sum(file.take for file in files) // _PIECES)
    pieces = []
    for file in files:
        ends = np.linspace(0, file.take, -(-file.take // largest) + 1)
        ends = ends.astype(int).tolist()
        pieces += [
            file.replace(skip=file.skip + start, take=end - start)
            for start, end in itertools.pairwise(ends)
        ]
    return pieces


def _count_examples(builder, split):
    try:
        size = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{builder.info.full_name} has no split {split!r}; it has "
            f"{list(builder.info.splits)} and slices such as 'train[:90%]'."
        ) from error
    if not size:
        raise ValueError(
            f"The split {split!r} of {builder.info.full_name} is empty."
        )
    return int(size)
