"""Measures how often samples follow the rule of the synthetic images.

  python scripts/measure_agreement.py --workdir=runs/synthetic

The rule: the shapes in the left and in the right half agree in kind and in
colour. `found` is the share of images with a shape recognised in each half;
the other columns are shares of those. Below each row stands what the same
images reach by chance, their right halves exchanged among images of one label:
neither what the label tells nor a preferred colour counts as agreement.
"""

from absl import app, flags

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
flags.DEFINE_integer("num_images", 512, "Images a row.", lower_bound=2)
flags.DEFINE_integer("seed", 1, "Seed for latents and for exchanged halves.")

SCORES = {
    "found": "both_found",
    "kind": "kind_if_found",
    "colour": "colour_if_found",
    "both": "agreement_if_found",
}


def main(argv):
    with command(argv):
        start_tensorflow()
        from sagan.data import make_dataset
        from sagan.generator import build_generator
        from sagan.latents import fixed_inputs, generate
        from sagan.runs.checkpoints import restore_generator
        from sagan.runs.record import parse_recorded_config

        parse_recorded_config(FLAGS.workdir)
        dataset = make_dataset(batch_size=FLAGS.num_images)
        images, labels = next(iter(dataset.batches()))
        generator = build_generator()
        rows = {"real images": (images.numpy(), labels)}
        for name, ema in (("samples (ema)", True), ("samples (raw)", False)):
            restore_generator(
                f"{FLAGS.workdir}/checkpoints", generator, ema=ema
            )
            latents, labels = fixed_inputs(
                generator, FLAGS.num_images, FLAGS.seed
            )
            images = generate(generator, latents, labels)
            rows[name] = images, labels
        print_table(rows)


def print_table(rows):
    """Prints scores and their chance levels of `(images, labels)` by name."""
    from sagan.data import agreement, shuffle_halves

    print(f"{'':15}" + "".join(f"{title:>9}" for title in SCORES))
    for name, (images, labels) in rows.items():
        exchanged = shuffle_halves(images, FLAGS.seed, labels)
        for title, scored in ((name, images), ("  by chance", exchanged)):
            scores = agreement(scored)
            print(
                f"{title:15}"
                + "".join(f"{scores[key]:9.1%}" for key in SCORES.values())
            )


if __name__ == "__main__":
    app.run(main)
