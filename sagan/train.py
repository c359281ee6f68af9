"""Trains a SAGAN; run it again to resume.

  python -m sagan.train --gin_config=configs/synthetic.gin
  python -m sagan.train --gin_config=configs/celeba.gin --data_dir=DIR
  python -m sagan.train --gin_config=configs/cifar10.gin \\
    --gin_config=configs/mixed_bfloat16.gin \\
    --gin_bindings="BASE_CHANNELS=32" --workdir=runs/narrow

Samples, scalars and checkpoints go to --workdir; see them with
tensorboard --logdir=runs, or draw a grid with python -m sagan.sample.

Exit status: 0 when all steps are done, 143 when stopped early by SIGTERM, 130
by Ctrl-C, so that a batch system can tell them apart.
"""

import signal
import sys

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_config_flags()
cli.define_path("workdir", "Folder of the run; runs/NAME for configs/NAME.gin.")
cli.define_data_flags()


def main(argv):
    with cli.command(argv, worker=True):
        cli.start_tensorflow()
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
