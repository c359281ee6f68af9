"""Scores exports of a run beside its checkpoint: does a format cost quality?

  python scripts/score_exports.py --workdir=runs/cifar10 \\
    --features=runs/classifier_cifar10 --export=cifar10.onnx \\
    --export=cifar10.tflite

All generate images from the same latents and labels. A Markdown table is
printed, whose first row is the checkpoint computed in float32.
"""

import json
import pathlib

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("features", "A feature network.", required=True)
cli.define_path("data_dir", "Folder of TFDS datasets.")
cli.define_paths(
    "export", "File or folder of sagan.export; repeat it for more."
)
flags.DEFINE_integer("num_samples", 2000, "Images of each.", lower_bound=6)
flags.DEFINE_integer("threads", 1, "Threads of a runtime.", lower_bound=1)


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.protocol import make_evaluation
        from sagan.evaluation.samples import restored_generator
        from sagan.exporting.formats import FORMATS
        from sagan.runs.record import parse_recorded_config

        bindings = [
            f"make_evaluation.features = {FLAGS.features!r}",
            f"make_evaluation.num_samples = {FLAGS.num_samples}",
            "build_generator.precision = 'float32'",
        ]
        parse_recorded_config(FLAGS.workdir, bindings, FLAGS.data_dir)
        evaluation = make_evaluation(FLAGS.workdir, FLAGS.data_dir)
        generator, _, step = restored_generator(FLAGS.workdir)
        print("| export | MB | ms | largest difference | mean | FID |")
        print("| --- | --- | --- | --- | --- | --- |")
        fid = evaluation.record(generator, step, "ema")["fid"]
        print(f"| checkpoint | | | | | {fid:.2f} |", flush=True)
        for path in map(pathlib.Path, FLAGS.export):
            record = json.loads(path.with_name(f"{path.name}.json").read_text())
            call = FORMATS[record["format"]].load(path, FLAGS.threads)
            fid = score(evaluation, generator, call)
            values = record["differences"]["images"]
            print(
                f"| {record['format']} {record['precision']} "
                f"| {record['megabytes']:.2f} "
                f"| {record['milliseconds']['export']:.2f} "
                f"| {values['largest']:.1e} | {values['mean']:.1e} "
                f"| {fid:.2f} |",
                flush=True,
            )


def score(evaluation, generator, call):
    """Returns the FID of what an export generates.

    Args:
        evaluation: An `Evaluation`.
        generator: The generator that was exported.
        call: The export, from latents and labels to images, by name.
    """
    from sagan.evaluation.embedding import embed_images
    from sagan.evaluation.scores import score as all_scores
    from sagan.exporting.program import in_batches
    from sagan.latents import draw_latents

    shape = generator.latent_dim, generator.num_classes
    seed = [evaluation.seed, 0]
    latents, labels = draw_latents(evaluation.num_samples, *shape, seed)
    inputs = {"latents": latents.numpy(), "labels": labels.numpy()}
    batches = (
        (call(part)["images"], part["labels"])
        for part in in_batches(inputs, 50)
    )
    fake = embed_images(
        evaluation.network, batches, evaluation.num_features_kept
    )
    return all_scores(evaluation.real, fake, evaluation.class_names)[0]["fid"]


if __name__ == "__main__":
    app.run(main)
