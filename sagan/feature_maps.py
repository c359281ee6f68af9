"""Draws what a layer makes of its input: feature maps of images.

  python -m sagan.feature_maps --workdir=runs/cifar10 --out=maps.png \\
    --layer="blocks[1].shortcut"
  python -m sagan.feature_maps --workdir=runs/cifar10 --out=maps.png \\
    --network=discriminator --layer="attentions[0].f" --num_channels=16
  python -m sagan.feature_maps --workdir=runs/cifar10 --out=maps.png \\
    --network=discriminator --layer="blocks[0].conv1" --image=cat.jpg

Layers have the names that python -m sagan.summary prints. Needs nothing but the
run's folder.
"""

from absl import app, flags, logging

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("out", "PNG file to write.", required=True)
flags.DEFINE_string("layer", None, "Name of the layer.", required=True)
flags.DEFINE_enum(
    "network", "generator", ["generator", "discriminator"],
    "Network that has the layer; the discriminator sees generated images.",
)  # fmt: skip
cli.define_path(
    "image", "Image file for the discriminator, in place of generated images."
)
flags.DEFINE_integer("num_channels", 8, "How many channels.", lower_bound=1)
flags.DEFINE_integer("num_images", 2, "How many images.", lower_bound=1)
flags.DEFINE_list("classes", [], "Classes of the images, by name or number.")
flags.DEFINE_integer("seed", 0, "Seed for the latents.")
flags.DEFINE_string("step", "last", "last, best or a step.")
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.feature_maps import picture_of_layer
        from sagan.runs.record import parse_recorded_config
        from sagan.runs.sample_grids import prepare_png, save_png

        prepare_png(FLAGS.out)
        parse_recorded_config(FLAGS.workdir, FLAGS.gin_bindings)
        names = "workdir network layer num_images num_channels classes seed"
        names += " step ema image"
        settings = {name: FLAGS[name].value for name in names.split()}
        save_png(FLAGS.out, picture_of_layer(**settings))
    logging.info("Wrote %s.", FLAGS.out)


if __name__ == "__main__":
    app.run(main)
