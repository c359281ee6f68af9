"""Times the training step of a config, beside what the machine can do.

  python scripts/benchmark_step.py --gin_config=configs/cifar10.gin
  python scripts/benchmark_step.py --gin_config=configs/celeba.gin \\
    --gin_config=configs/mixed_bfloat16.gin --batch_size=8 --compare=plain
  python scripts/benchmark_step.py --gin_config=configs/cifar10.gin \\
    --with_data --data_dir=DIR   # also with its images: what input costs

Takes minutes, most of them until the first step. Prints seconds, FLOP/s also as
a share of those of the machine's best convolution ("of conv"), the memory that
a call holds beyond weights and batch ("holds"), and what the operations of a
step are. Writes step_NAME.csv, _parts.csv and .png to --out.

--compare=plain times the step without the exact rewrites of docs/performance.md
in turn with the one that has them all, --compare=fused_norm the step without
that one, --compare="make_objective.r1 = 0.1" the config with that binding in
turn with the config alone. The last line is the ratio of the two; those of
several rewrites, each left out by itself, do not multiply to that of all.
"""

import pathlib

from absl import app, flags, logging

from sagan.cli import (
    command,
    define_config_flags,
    define_path,
    start_tensorflow,
)

FLAGS = flags.FLAGS
define_config_flags()
flags.DEFINE_integer(
    "batch_size",
    None,
    "Images in a batch; the config's if not given.",
    lower_bound=1,
)
flags.DEFINE_string(
    "compare",
    None,
    "Form to compare with: plain, the name of a rewrite to leave out, or a "
    "binding to add to the config.",
)
flags.DEFINE_integer("samples", 9, "Samples of each timing.", lower_bound=3)
flags.DEFINE_bool("with_data", False, "Also time it with the config's images.")
define_path("data_dir", "Folder of TFDS datasets.")
define_path("out", "Folder for the table and the plot.", default=".")


def main(argv):
    with command(argv):
        start_tensorflow()
        from sagan.cli import check_choices
        from sagan.config import config_name
        from sagan.profiling.step import REWRITES
        from sagan.profiling.step_benchmark import (
            PLAIN,
            is_binding,
            measure,
        )
        from sagan.profiling.step_report import lines, write
        from sagan.runs.files import check_writable

        if FLAGS.compare is not None and not is_binding(FLAGS.compare):
            check_choices("--compare", [FLAGS.compare], (PLAIN, *REWRITES))
        check_writable(FLAGS.out, "--out")
        report = measure(
            FLAGS.gin_config,
            FLAGS.gin_bindings,
            FLAGS.batch_size,
            compare=FLAGS.compare,
            data=FLAGS.with_data,
            data_dir=FLAGS.data_dir,
            samples=FLAGS.samples,
        )
        name = config_name(FLAGS.gin_config)
        out = pathlib.Path(FLAGS.out) / f"step_{name}.csv"
        write(out, report, title=name)
    logging.info("Wrote %s, and _parts.csv and .png beside it.", out)
    print("\n".join(lines(report)))


if __name__ == "__main__":
    app.run(main)
