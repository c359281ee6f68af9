"""Data sets of the true schema with other contents, which TFDS can read."""

import pathlib

import tensorflow as tf
import tensorflow_datasets as tfds


def write_fake(name, root, train, **splits):
    """Writes examples as the splits of a data set that TFDS has prepared.

    Args:
        name: A data set that TFDS knows.
        root: Folder of prepared data sets.
        train: Examples of the split "train".
        **splits: Those of others.
    """
    builder = tfds.builder(name, data_dir=root, try_gcs=False)
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
        path = template.sharded_filepath(shard_index=0, num_shards=1)
        records = [
            features.serialize_example(features.encode_example(example))
            for example in examples
        ]
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        info = tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(records)],
            num_bytes=sum(map(len, records)),
            filename_template=template,
        )
        infos.append(info)
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder), features=features, split_infos=infos
    )
