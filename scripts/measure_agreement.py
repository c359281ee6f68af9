"""Measures how often samples follow the rule of the synthetic images.

  python scripts/measure_agreement.py --workdir=runs/synthetic

The rule: the shapes in the left and in the right half agree in kind and in
colour. Beside the samples stand real images, for which it always holds, and
real images whose right halves were dealt anew, for which it holds by chance.
"""

from absl import app, flags

from sagan.startup import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.DEFINE_integer("num_images", 512, "Images a row.", lower_bound=2)
flags.DEFINE_integer("seed", 1, "Of latents, and of the shuffled halves.")


def main(argv):
    with command(argv):
        start_tensorflow()
        from sagan import sampling
        from sagan.builders import build_generator
        from sagan.checkpoints import restore_generator
        from sagan.data import agreement, make_dataset, shuffle_halves
        from sagan.record import parse_recorded_config

        parse_recorded_config(FLAGS.workdir)
        dataset = make_dataset(batch_size=FLAGS.num_images)
        real = next(iter(dataset.batches()))[0].numpy()
        generator = build_generator()
        rows = {
            "real images": real,
            "shuffled halves": shuffle_halves(real, FLAGS.seed),
        }
        for name, ema in (("samples (ema)", True), ("samples (raw)", False)):
            restore_generator(
                f"{FLAGS.workdir}/checkpoints", generator, ema=ema
            )
            inputs = sampling.fixed_inputs(
                generator, FLAGS.num_images, FLAGS.seed
            )
            rows[name] = sampling.generate(generator, *inputs)
        print(f"{'agreement':18}{'both':>8}{'kind':>8}{'colour':>8}")
        for name, images in rows.items():
            share = agreement(images)
            print(
                f"{name:18}{share['agreement']:8.1%}{share['kind']:8.1%}"
                f"{share['colour']:8.1%}"
            )


if __name__ == "__main__":
    app.run(main)
