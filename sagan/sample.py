"""Draws samples of a run's checkpoint: a grid, a path, or their neighbours.

  python -m sagan.sample --workdir=runs/synthetic --out=grid.png
  python -m sagan.sample --workdir=runs/celeba --out=raw.png --step=9000 --noema
  python -m sagan.sample --workdir=runs/cifar10 --out=walk.png --interpolate
  python -m sagan.sample --workdir=runs/cifar10 --out=near.png --neighbours=5

Needs nothing but the run's folder; --neighbours also the dataset.
"""

import dataclasses

from absl import app, flags, logging

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("out", "PNG file to write.", required=True)
flags.DEFINE_integer("num_images", None, "How many images.", lower_bound=1)
flags.DEFINE_integer("columns", None, "Images in a row.", lower_bound=1)
flags.DEFINE_list("classes", [], "Classes of the rows, by name or number.")
flags.DEFINE_integer("seed", 0, "Seed for the latents.")
flags.DEFINE_float(
    "truncation", None, "Largest magnitude of a latent value.",
    lower_bound=0.001,
)  # fmt: skip
flags.DEFINE_string("step", "last", "last, best or a step.")
flags.DEFINE_enum(
    "statistics", "moving", ["moving", "standing"],
    "Batch norm moments: moving, or standing ones of these very weights.",
)  # fmt: skip
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
flags.DEFINE_boolean(
    "interpolate", False, "Walk from row to row: a strip and an animation."
)
flags.DEFINE_integer(
    "neighbours", 0, "Nearest real images beside each.", lower_bound=0
)
cli.define_features_flag()
cli.define_path("data_dir", "Folder of TFDS datasets.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.pictures import Drawing, draw
        from sagan.runs.record import parse_recorded_config

        names = [field.name for field in dataclasses.fields(Drawing)]
        drawing = Drawing(**{name: FLAGS[name].value for name in names})
        workdir, data_dir = FLAGS.workdir, FLAGS.data_dir
        bindings = cli.evaluation_bindings("features")
        parse_recorded_config(workdir, bindings, data_dir)
        logging.info("%s", draw(workdir, FLAGS.out, data_dir, drawing))


if __name__ == "__main__":
    app.run(main)
