"""Estimates what a config costs before it is run: work, time and memory.

  python -m sagan.summary --gin_config=configs/synthetic.gin --measure
  python -m sagan.summary --gin_config=configs/imagenet128.gin \\
    --gflops=40000 --bandwidth=1500 --memory=80 --devices=4 --allreduce=50

Without --gflops and --bandwidth the rates are measured on this machine. Give
what convolutions reach on a device, not what its data sheet promises.
"""

from dataclasses import fields

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_config_flags()
flags.DEFINE_float("gflops", None, "GFLOP/s that a device reaches.")
flags.DEFINE_float("bandwidth", None, "GB/s of a device's memory.")
flags.DEFINE_float("memory", None, "GB of a device, for the largest batch.")
flags.DEFINE_integer("devices", 1, "Devices that share each batch.")
flags.DEFINE_float("allreduce", None, "GB/s from a device to the next.")
flags.DEFINE_boolean("measure", False, "Run some steps and compare.")


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        import sagan.training.train  # noqa: F401  What configs bind.
        from sagan.config import parse_config
        from sagan.profiling.plan import Options
        from sagan.profiling.plan_report import report

        options = Options(
            **{f.name: FLAGS[f.name].value for f in fields(Options)}
        )
        parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
        for line in report(options):
            print(line, flush=True)


if __name__ == "__main__":
    app.run(main)
