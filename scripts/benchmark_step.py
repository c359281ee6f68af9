"""Times the training step of a config, beside what the machine can do.

  python scripts/benchmark_step.py --gin_config=configs/cifar10.gin
  python scripts/benchmark_step.py --gin_config=configs/celeba.gin \\
    --gin_config=configs/mixed_bfloat16.gin --batch_size=8 --compare=plain
  python scripts/benchmark_step.py --gin_config=configs/cifar10.gin \\
    --with_data --data_dir=DIR   # also with its images: what input costs

Writes step_NAME.csv and .png to --out. With --compare=plain, resampling apart
from the convolutions is timed in turn with the merged form, and the last line
is the ratio of the two.
"""

import pathlib

from absl import app, flags, logging

from sagan.startup import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", [], "Config to take.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override it.")
flags.DEFINE_integer(
    "batch_size",
    None,
    "Images an update; the config's if not given.",
    lower_bound=1,
)
flags.DEFINE_enum("compare", None, ["plain"], "Form to compare with.")
flags.DEFINE_integer("samples", 9, "Samples of each timing.", lower_bound=3)
flags.DEFINE_bool("with_data", False, "Also time it with the config's images.")
flags.DEFINE_string("data_dir", None, "Where TFDS data sets are.")
flags.DEFINE_string("out", ".", "Folder for the table and the plot.")


def main(argv):
    with command(argv):
        start_tensorflow()
        from sagan.benchmarks import step_report
        from sagan.config import config_name
        from sagan.workdir import check_writable

        check_writable(FLAGS.out, "--out")
        report = step_report.measure(
            FLAGS.gin_config,
            FLAGS.gin_bindings,
            FLAGS.batch_size,
            plain=FLAGS.compare == "plain",
            data=FLAGS.with_data,
            data_dir=FLAGS.data_dir,
            samples=FLAGS.samples,
        )
        name = config_name(FLAGS.gin_config)
        out = pathlib.Path(FLAGS.out) / f"step_{name}.csv"
        step_report.write(out, report, title=name)
    logging.info("Wrote %s and .png.", out)
    print("\n".join(step_report.lines(report)))


if __name__ == "__main__":
    app.run(main)
