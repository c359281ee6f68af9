"""Times the implementations of the 1x1 convolution at a config's shapes.

  python scripts/benchmark_pointwise.py --gin_config=configs/cifar10.gin
  python scripts/benchmark_pointwise.py --gin_config=configs/celeba.gin \\
    --batch_size=8 --dtypes=float32,bfloat16 --modes=function,jit --out=results
  python scripts/benchmark_pointwise.py --compare=old.csv,new.csv

Writes pointwise_NAME.csv, after each shape, and .png to --out. What cannot be
told apart from the fastest, by the quartiles of its samples, is a tie. Prints
seconds of all shapes together.
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
flags.DEFINE_list(
    "dtypes",
    None,
    "float32, bfloat16, float16; the config's if not given.",
)
flags.DEFINE_list("modes", ["function"], "eager, function, jit.")
flags.DEFINE_list("implementations", None, "Some only; all if not given.")
flags.DEFINE_integer("samples", 15, "Samples of each timing.", lower_bound=3)
flags.DEFINE_float(
    "budget",
    2.0,
    "Seconds a timing may take; slow ones then have fewer samples, but 3.",
    lower_bound=0.0,
)
define_path("out", "Folder for the table and the plot.", default=".")
flags.DEFINE_list("compare", None, "Two tables to compare: old.csv,new.csv.")


def main(argv):
    with command(argv):
        start_tensorflow()
        if FLAGS.compare is not None:
            _compare()
        else:
            _measure()


def _compare():
    from sagan.profiling.tables import compare

    if len(FLAGS.compare) != 2:
        raise app.UsageError("--compare takes two tables: old.csv,new.csv.")
    print("\n".join(compare(*FLAGS.compare)))


def _measure():
    import tensorflow as tf

    from sagan.cli import check_choices
    from sagan.config import (
        config_batch_size,
        config_name,
        parse_config,
        train_settings,
    )
    from sagan.discriminator import build_discriminator
    from sagan.generator import build_generator
    from sagan.layers.pointwise import IMPLEMENTATIONS
    from sagan.profiling import pointwise_benchmark as timed
    from sagan.profiling.figures import draw_pointwise
    from sagan.profiling.pointwise import pointwise_shapes
    from sagan.profiling.tables import write_table
    from sagan.runs.files import check_writable

    implementations = FLAGS.implementations or list(IMPLEMENTATIONS)
    if FLAGS.dtypes is not None:
        check_choices("--dtypes", FLAGS.dtypes, timed.DTYPES)
    check_choices("--modes", FLAGS.modes, timed.MODES)
    check_choices("--implementations", implementations, tuple(IMPLEMENTATIONS))
    parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
    generator = build_generator()
    dtypes = FLAGS.dtypes or [generator.compute_dtype]
    shapes = pointwise_shapes(
        generator,
        build_discriminator(),
        FLAGS.batch_size or config_batch_size(),
    )
    tf.config.experimental.enable_tensor_float_32_execution(
        train_settings()["tensor_float_32"]
    )
    check_writable(FLAGS.out, "--out")
    name = config_name(FLAGS.gin_config)
    out = pathlib.Path(FLAGS.out) / f"pointwise_{name}.csv"
    rows = []
    for group in timed.benchmark(
        sorted(shapes),
        dtypes,
        FLAGS.modes,
        implementations,
        FLAGS.samples,
        FLAGS.budget,
    ):
        rows += group
        write_table(out, rows)
        first = group[0]
        best = [r["implementation"] for r in group if r["verdict"] != "slower"]
        logging.info(
            "%-24s %s %s %s: %s",
            *(first[key] for key in ("shape", "dtype", "mode", "pass")),
            " = ".join(best),
        )
    draw_pointwise(
        out.with_suffix(".png"), rows, f"{name} on {rows[0]['device']}"
    )
    logging.info("Wrote %s and .png.", out)
    print("\n".join(timed.tally(rows)))


if __name__ == "__main__":
    app.run(main)
