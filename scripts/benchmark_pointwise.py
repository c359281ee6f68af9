"""Times the implementations of the 1x1 convolution at a config's shapes.

  python scripts/benchmark_pointwise.py --gin_config=configs/cifar10.gin
  python scripts/benchmark_pointwise.py --gin_config=configs/celeba.gin \\
    --batch_size=8 --dtypes=float32,bfloat16 --modes=function,jit --out=results
  python scripts/benchmark_pointwise.py --compare=old.csv,new.csv

Writes pointwise_NAME.csv and .png to --out. Whatever cannot be told apart from
the fastest, by the quartiles of its samples, is called a tie.
"""

import collections
import pathlib

from absl import app, flags, logging

from sagan.startup import short_errors, start_logging, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", [], "Config whose networks to take.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override it.")
flags.DEFINE_integer(
    "batch_size", None, "Images a batch; the config's if not given."
)
flags.DEFINE_list("dtypes", ["float32"], "float32, bfloat16, float16.")
flags.DEFINE_list("modes", ["function"], "eager, function, jit.")
flags.DEFINE_list("implementations", None, "Some only; all if not given.")
flags.DEFINE_integer("samples", 15, "Samples of each timing.", lower_bound=3)
flags.DEFINE_float(
    "budget",
    2.0,
    "Seconds a timing may take; slow ones then have fewer samples, but 3.",
    lower_bound=0.0,
)
flags.DEFINE_string("out", ".", "Folder for the table and the plot.")
flags.DEFINE_list("compare", None, "Two tables to compare instead.")


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_logging()
    with short_errors():
        start_tensorflow()
        from sagan.benchmarks import tables

        if FLAGS.compare:
            if len(FLAGS.compare) != 2:
                raise app.UsageError("--compare takes two tables: A.csv,B.csv.")
            print("\n".join(tables.compare(*FLAGS.compare)))
            return
        rows = _measure()
        name = "-".join(pathlib.Path(path).stem for path in FLAGS.gin_config)
        out = pathlib.Path(FLAGS.out) / f"pointwise_{name}.csv"
        tables.write_table(out, rows)
        tables.draw(
            out.with_suffix(".png"), rows, f"{name} on {rows[0]['device']}"
        )
    _print_verdicts(rows)
    logging.info("Wrote %s and .png.", out)


def _measure():
    from sagan.benchmarks import pointwise
    from sagan.benchmarks.shapes import config_shapes
    from sagan.layers.pointwise import IMPLEMENTATIONS
    from sagan.machine import describe_machine
    from sagan.settings import check_choices

    for name, known in (
        ("dtypes", pointwise.DTYPES),
        ("modes", pointwise.MODES),
        ("implementations", tuple(IMPLEMENTATIONS)),
    ):
        check_choices(f"--{name}", FLAGS[name].value or (), known)
    shapes = config_shapes(
        FLAGS.gin_config, FLAGS.gin_bindings, FLAGS.batch_size
    )
    device = describe_machine()
    logging.info("%d shapes on %s.", len(shapes), device)
    rows = []
    for group in pointwise.benchmark(
        sorted(shapes),
        FLAGS.dtypes,
        FLAGS.modes,
        FLAGS.implementations or tuple(IMPLEMENTATIONS),
        FLAGS.samples,
        FLAGS.budget,
    ):
        rows += [{"device": device, **row} for row in group]
        first = group[0]
        best = [r["implementation"] for r in group if r["verdict"] != "slower"]
        logging.info(
            "%-24s %s %s %s: %s",
            *(first[key] for key in ("shape", "dtype", "mode", "pass")),
            " = ".join(best),
        )
    return rows


def _print_verdicts(rows):
    """Prints how often each was fastest, and tied with the fastest."""
    from sagan.benchmarks import tables

    counts = collections.Counter(
        tuple(row[key] for key in (*tables.KEYS[1:], "verdict")) for row in rows
    )
    groups = dict.fromkeys((r["dtype"], r["mode"], r["pass"]) for r in rows)
    names = dict.fromkeys(row["implementation"] for row in rows)
    for group in groups:
        print(" ".join(group))
        for name in names:
            fastest, tie, slower = (
                counts[(*group, name, v)] for v in ("fastest", "tie", "slower")
            )
            line = f"  {name:16} fastest {fastest:3}  tie {tie:3}"
            print(f"{line}  slower {slower:3}")


if __name__ == "__main__":
    app.run(main)
