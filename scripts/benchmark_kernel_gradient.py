"""Times gradients of 3x3 kernels as the framework and as products compute them.

  python scripts/benchmark_kernel_gradient.py --gin_config=configs/cifar10.gin
  python scripts/benchmark_kernel_gradient.py --gin_config=configs/celeba.gin \\
    --gin_config=configs/mixed_bfloat16.gin --batch_size=8 --out=results

Writes kernel_gradient_NAME.csv to --out, and prints how long all distinct
layers of both networks take in either form and by the rule of
`layers/kernel_gradient.py`.
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
flags.DEFINE_integer("samples", 9, "Samples of each timing.", lower_bound=3)
define_path("out", "Folder for the table.", default=".")


def main(argv):
    with command(argv):
        start_tensorflow()
        from sagan.config import config_batch_size, config_name, parse_config
        from sagan.discriminator import build_discriminator
        from sagan.generator import build_generator
        from sagan.profiling.kernel_gradients import (
            FORMS,
            benchmark,
            chosen_form,
            convolutions,
        )
        from sagan.profiling.tables import write_table
        from sagan.runs.files import check_writable

        parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
        operations = convolutions(
            build_generator(),
            build_discriminator(),
            FLAGS.batch_size or config_batch_size(),
        )
        check_writable(FLAGS.out, "--out")
        name = config_name(FLAGS.gin_config)
        out = pathlib.Path(FLAGS.out) / f"kernel_gradient_{name}.csv"
        rows = []
        for row in benchmark(operations, FLAGS.samples):
            rows.append(row)
            write_table(out, rows)
            logging.info(
                "%-22s %-20s framework %8.2f ms, products %8.2f ms; rule: %s",
                *(row[key] for key in ("convolution", "shape")),
                *(1e3 * row[form] for form in FORMS),
                chosen_form(row),
            )
        sums = {form: sum(row[form] for row in rows) for form in FORMS}
        sums["rule"] = sum(row[chosen_form(row)] for row in rows)
        logging.info("Wrote %s.", out)
        print(", ".join(f"{k} {1e3 * v:.1f} ms" for k, v in sums.items()))


if __name__ == "__main__":
    app.run(main)
