"""Trains with several worker processes on this machine, for trying it out.

  python -m sagan.launch --workers=2 -- --gin_config=configs/synthetic.gin
  python -m sagan.launch --workers=2 --pin -- \\
    --gin_config=configs/cifar10.gin --workdir=runs/two_workers

What comes after -- goes to python -m sagan.train, with
train.strategy='multi_worker'. Ctrl-C makes all finish the step and save; the
same command resumes. Several machines: docs/distributed.md.
"""

import os
import sys

from absl import app, flags, logging

from sagan import cli
from sagan.distributed.processes import run_workers

FLAGS = flags.FLAGS
flags.DEFINE_integer("workers", 2, "Number of processes.", lower_bound=1)
flags.DEFINE_boolean(
    "pin", False, "Bind each worker to its own share of the cores."
)
_AFTER = (
    "What to train comes after --, as in python -m sagan.launch --workers=2 -- "
    "--gin_config=FILE."
)


def main(argv):
    arguments = argv[1:]
    with cli.command(argv[:1]):
        if not arguments or not arguments[0].startswith("-"):
            got = arguments[0] if arguments else "nothing"
            raise ValueError(f"{_AFTER} Got {got}.")
        if FLAGS.workers > os.cpu_count():
            logging.warning(
                "%d workers share %d cores, and slow each other down.",
                FLAGS.workers,
                os.cpu_count(),
            )
        train = [sys.executable, "-m", "sagan.train", *arguments]
        strategy = "--gin_bindings=train.strategy='multi_worker'"
        sys.exit(run_workers([*train, strategy], FLAGS.workers, FLAGS.pin))


def _parse(argv):
    try:
        return FLAGS(argv)
    except flags.Error as error:
        sys.exit(f"Error: {error}. {_AFTER}")


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
