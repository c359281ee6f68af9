"""Trains a SAGAN; run it again to go on where it stopped.

  python -m sagan.train --gin_config=configs/synthetic.gin
  python -m sagan.train --gin_config=configs/celeba.gin --data_dir=DIR
  python -m sagan.train --gin_config=configs/cifar10.gin \\
    --gin_config=configs/mixed_bfloat16.gin \\
    --gin_bindings="BASE_CHANNELS=32" --workdir=runs/narrow

Samples, scalars and checkpoints go to --workdir; see them with
tensorboard --logdir=runs, or draw a grid with python -m sagan.sample.

Ends with 0 when all steps are made, and with 143 when SIGTERM, or 130 when
Ctrl-C, has stopped it before, so that a batch system does not take the one for
the other.
"""

import signal
import sys

from absl import app, flags

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "gin_config", [], "Config file; repeat it to override one with the next."
)
flags.DEFINE_multi_string(
    "gin_bindings",
    [],
    "Setting that overrides the files, such as \"POINTWISE='matmul'\".",
)
flags.DEFINE_string(
    "workdir", None, "Folder of the run; runs/NAME for configs/NAME.gin."
)
flags.DEFINE_string("data_dir", None, "Where TFDS data sets are.")
flags.DEFINE_boolean(
    "download", False, "Download and prepare the data set if it is missing."
)


def main(argv):
    with command(argv, worker=True):
        start_tensorflow()
        from sagan.config import config_name, parse_config
        from sagan.training.train import train

        parse_config(FLAGS.gin_config, FLAGS.gin_bindings, FLAGS.data_dir)
        name = config_name(FLAGS.gin_config)
        stopped_by = train(
            workdir=FLAGS.workdir or f"runs/{name}",
            data_dir=FLAGS.data_dir,
            download=FLAGS.download,
        )
        if stopped_by:
            sys.exit(128 + signal.Signals[stopped_by])


if __name__ == "__main__":
    app.run(main)
