"""Trains the classifier of a dataset whose features score generated images.

  python -m sagan.classifier --gin_config=configs/classifier_cifar10.gin \\
    --workdir=runs/classifier_cifar10 --data_dir=DIR

It learns the labels of the dataset itself, so no network has to be
downloaded. --workdir receives the trained classifier; run again, the command
reports its accuracy.
"""

from absl import app, flags

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "gin_config", [], "Config file; repeat it to override one with the next."
)
flags.DEFINE_multi_string(
    "gin_bindings", [], 'Setting that overrides the files, such as "EPOCHS=4".'
)
flags.DEFINE_string(
    "workdir", None, "Folder; runs/classifier_NAME for the dataset NAME."
)
flags.DEFINE_string("data_dir", None, "Where TFDS datasets are.")
flags.DEFINE_boolean(
    "download", False, "Download and prepare the dataset if it is missing."
)


def main(argv):
    with command(argv):
        start_tensorflow()
        import gin

        from sagan.config import parse_config
        from sagan.evaluation.classifier import default_folder
        from sagan.evaluation.classifier_training import train_classifier

        parse_config(FLAGS.gin_config, FLAGS.gin_bindings, FLAGS.data_dir)
        name = gin.get_bindings("make_dataset").get("name", "unnamed")
        train_classifier(
            workdir=FLAGS.workdir or str(default_folder(name)),
            data_dir=FLAGS.data_dir,
            download=FLAGS.download,
        )


if __name__ == "__main__":
    app.run(main)
