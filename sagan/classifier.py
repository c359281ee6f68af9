"""Trains the classifier of a dataset whose features score generated images.

  python -m sagan.classifier --gin_config=configs/classifier_cifar10.gin \\
    --workdir=runs/classifier_cifar10 --data_dir=DIR

It learns the labels of the dataset itself, so no network has to be
downloaded. --workdir receives the trained classifier; run again, the command
reports its accuracy.
"""

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_config_flags()
cli.define_path("workdir", "Folder; runs/classifier_NAME for the dataset NAME.")
cli.define_data_flags()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
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
