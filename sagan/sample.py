"""Draws a grid of samples from a run's checkpoint.

  python -m sagan.sample --workdir=runs/synthetic --out=grid.png
  python -m sagan.sample --workdir=runs/celeba --out=raw.png \\
    --num_images=100 --seed=1 --step=100000 --noema

Needs nothing but the run's folder: no data set and no config file.
"""

import os

from absl import app, flags, logging

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.DEFINE_string("out", None, "PNG file to write.", required=True)
flags.DEFINE_integer("num_images", 64, "How many images.", lower_bound=1)
flags.DEFINE_integer("columns", 8, "Images in a row.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the latents.")
flags.DEFINE_integer("step", None, "Which checkpoint; the newest if not given.")
flags.DEFINE_enum(
    "statistics",
    "moving",
    ["moving", "standing"],
    "What batch norm normalises with: the moving moments, or those of batches "
    "of these very weights.",
)
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
flags.DEFINE_multi_string(
    "gin_bindings", [], "Override the run's config: POINTWISE='gemm'."
)


def main(argv):
    with command(argv):
        start_tensorflow()
        import tensorflow as tf

        from sagan.config import train_settings
        from sagan.distributed.replicas import spread
        from sagan.distributed.strategy import make_local_strategy
        from sagan.evaluation.samples import use_standing_moments
        from sagan.generator import build_generator
        from sagan.latents import fixed_inputs, generate
        from sagan.layers.numerics import check_networks
        from sagan.runs import sample_grids
        from sagan.runs.checkpoints import CHECKPOINT_FOLDER, restore_generator
        from sagan.runs.machine import describe_machine
        from sagan.runs.record import parse_recorded_config

        sample_grids.prepare_png(FLAGS.out)
        parse_recorded_config(FLAGS.workdir, FLAGS.gin_bindings)
        # As the run was.
        tf.config.experimental.enable_tensor_float_32_execution(
            train_settings()["tensor_float_32"]
        )
        strategy = make_local_strategy()
        with strategy.scope():
            generator = build_generator()
        step = restore_generator(
            os.path.join(FLAGS.workdir, CHECKPOINT_FOLDER),
            generator,
            FLAGS.step,
            FLAGS.ema,
        )
        images = {generator: FLAGS.num_images}
        checked = check_networks(images, describe_machine(), "eager", False)
        logging.info("Checked %s.", checked)
        if FLAGS.statistics == "standing":
            use_standing_moments(generator, FLAGS.seed)
        inputs = fixed_inputs(
            generator, FLAGS.num_images, FLAGS.seed, FLAGS.columns
        )
        images = generate(spread(generator, strategy), *inputs)
        sample_grids.save_png(
            FLAGS.out, sample_grids.make_grid(images, FLAGS.columns)
        )
    logging.info(
        "Wrote %s: %d images of step %d, %s weights.",
        FLAGS.out,
        FLAGS.num_images,
        step,
        "averaged" if FLAGS.ema else "raw",
    )


if __name__ == "__main__":
    app.run(main)
