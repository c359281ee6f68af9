"""Draws a grid of samples from a run's checkpoint.

  python -m sagan.sample --workdir=runs/synthetic --out=grid.png
  python -m sagan.sample --workdir=runs/celeba --out=raw.png --step=9000 --noema

Needs nothing but the run's folder: no data set and no config file.
"""

from absl import app, flags, logging

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("out", "PNG file to write.", required=True)
flags.DEFINE_integer("num_images", 64, "How many images.", lower_bound=1)
flags.DEFINE_integer("columns", 8, "Images in a row.", lower_bound=1)
flags.DEFINE_list("classes", [], "Classes of the rows, by name or number.")
flags.DEFINE_integer("seed", 0, "Seed for the latents.")
flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
flags.DEFINE_enum(
    *("statistics", "moving", ["moving", "standing"]),
    "Of batch norm: moving moments, or those of batches of these weights.",
)
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.distributed.replicas import run_on_replicas
        from sagan.evaluation.samples import (
            restored_generator,
            use_standing_moments,
        )
        from sagan.latents import fixed_inputs, generate
        from sagan.runs.record import class_numbers, parse_recorded_config
        from sagan.runs.sample_grids import make_grid, prepare_png, save_png

        workdir = FLAGS.workdir
        prepare_png(FLAGS.out)
        parse_recorded_config(workdir, FLAGS.gin_bindings)
        generator, strategy, step = restored_generator(
            workdir, FLAGS.step, FLAGS.ema, mode="eager"
        )
        if FLAGS.statistics == "standing":
            use_standing_moments(generator, FLAGS.seed)
        number, columns = FLAGS.num_images, FLAGS.columns
        classes = class_numbers(workdir, FLAGS.classes, generator.num_classes)
        inputs = fixed_inputs(generator, number, FLAGS.seed, columns, classes)
        images = generate(run_on_replicas(generator, strategy), *inputs)
        save_png(FLAGS.out, make_grid(images, columns))
    weights = "averaged" if FLAGS.ema else "raw"
    what = f"{number} images of step {step}, {weights} weights"
    logging.info("Wrote %s: %s.", FLAGS.out, what)


if __name__ == "__main__":
    app.run(main)
