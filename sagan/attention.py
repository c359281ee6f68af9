"""Draws where the attention of a run's networks looks, with its numbers.

  python -m sagan.attention --workdir=runs/cifar10 --out=maps.png
  python -m sagan.attention --workdir=runs/cifar10 --out=maps.png --step=all \\
    --num_images=1 --query=8,8 --query=24,16 --noreal

Writes maps.png, and the numbers of all blocks as maps.json and maps.csv.
"""

from absl import app, flags, logging

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("out", "PNG file to write.", required=True)
cli.define_path("data_dir", "Folder of TFDS datasets.")
flags.DEFINE_integer("num_images", 4, "How many images.", lower_bound=1)
flags.DEFINE_list("classes", [], "Classes of the images, by name or number.")
flags.DEFINE_integer("seed", 0, "Seed for the latents.")
flags.DEFINE_string("step", "last", "all, last, best or a step.")
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
flags.DEFINE_boolean("real", True, "Show the discriminator real images too.")
flags.DEFINE_multi_string(
    "query", [], "ROW,COLUMN of a pixel; repeat for more."
)
flags.DEFINE_integer(
    "num_queries",
    4,
    "Without --query: queries, those whose maps differ most.",
    lower_bound=1,
)
flags.DEFINE_boolean("smooth", False, "Interpolate maps between positions.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.attention_report import (
            picture_of_run,
            write_numbers,
        )
        from sagan.runs.record import parse_recorded_config
        from sagan.runs.sample_grids import prepare_png, save_png

        prepare_png(FLAGS.out)
        parse_recorded_config(FLAGS.workdir, FLAGS.gin_bindings, FLAGS.data_dir)
        names = "workdir data_dir num_images classes seed step ema real query"
        names += " num_queries smooth"
        settings = {name: FLAGS[name].value for name in names.split()}
        pixels, rows = picture_of_run(**settings)
        save_png(FLAGS.out, pixels)
        write_numbers(FLAGS.out, rows, **settings)
    logging.info("Wrote %s, and its numbers as .json and .csv.", FLAGS.out)


if __name__ == "__main__":
    app.run(main)
