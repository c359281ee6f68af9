"""Datasets of the true schema with other contents, which TFDS can read."""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from sagan.data.tfds_builders import make_builder


def write_fake(name, root, train, num_files=1, **splits):
    """Writes examples as the splits of a dataset that TFDS has prepared.

    Args:
        name: A dataset that TFDS knows.
        root: Folder of prepared datasets.
        train: Examples of the split "train".
        num_files: Files of each split, as equal as can be.
        **splits: Those of others.
    """
    builder = make_builder(name, root)
    features = builder.info.features
    folder = pathlib.Path(root) / name / str(builder.version)
    folder.mkdir(parents=True)
    infos = []
    for split, examples in {"train": train, **splits}.items():
        template = tfds.core.ShardedFileTemplate(
            data_dir=folder,
            dataset_name=name,
            split=split,
            filetype_suffix="tfrecord",
        )
        records = [
            features.serialize_example(features.encode_example(example))
            for example in examples
        ]
        parts = [
            [records[i] for i in part]
            for part in np.array_split(range(len(records)), num_files)
        ]
        for index, part in enumerate(parts):
            path = template.sharded_filepath(
                shard_index=index, num_shards=num_files
            )
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in part:
                    writer.write(record)
        info = tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(part) for part in parts],
            num_bytes=sum(map(len, records)),
            filename_template=template,
        )
        infos.append(info)
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder), features=features, split_infos=infos
    )
