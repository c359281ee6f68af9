"""Scores exports of a run beside its checkpoint: does a format cost quality?

  python scripts/score_exports.py --workdir=runs/cifar10 \\
    --features=runs/classifier_cifar10 --export=cifar10.onnx \\
    --export=cifar10.tflite

All generate images from the same latents and labels. A Markdown table is
printed, whose first row is the checkpoint computed in float32.
"""

import pathlib

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("features", "A feature network.", required=True)
cli.define_path("data_dir", "Folder of TFDS datasets.")
cli.define_paths(
    "export", "Output of sagan.export; repeat it for more.", required=True
)
flags.DEFINE_integer("num_samples", 2000, "Images of each.", lower_bound=6)
flags.DEFINE_integer("threads", 1, "Threads of a runtime.", lower_bound=1)


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.protocol import make_evaluation
        from sagan.exporting.formats import FORMATS
        from sagan.exporting.scoring import (
            exported_generator,
            read_record,
            score_export,
        )
        from sagan.runs.record import parse_recorded_config

        paths = [pathlib.Path(path) for path in FLAGS.export]
        records = [read_record(path) for path in paths]
        bindings = [
            f"make_evaluation.features = {FLAGS.features!r}",
            f"make_evaluation.num_samples = {FLAGS.num_samples}",
            "build_generator.precision = 'float32'",
        ]
        parse_recorded_config(FLAGS.workdir, bindings, FLAGS.data_dir)
        generator = exported_generator(FLAGS.workdir, records)
        step, weights = records[0]["step"], records[0]["weights"]
        evaluation = make_evaluation(FLAGS.workdir, FLAGS.data_dir)
        print("| export | MB | ms | largest difference | mean | FID |")
        print("| --- | --- | --- | --- | --- | --- |")
        fid = evaluation.record(generator, step, weights)["fid"]
        print(f"| checkpoint | | | | | {fid:.2f} |", flush=True)
        for path, record in zip(paths, records, strict=True):
            call = FORMATS[record["format"]].load(path, FLAGS.threads)
            fid = score_export(evaluation, generator, call, record)
            values = record["differences"]["images"]
            print(
                f"| {record['format']} {record['precision']} "
                f"| {record['megabytes']:.2f} "
                f"| {record['milliseconds']['export']:.2f} "
                f"| {values['largest']:.1e} | {values['mean']:.1e} "
                f"| {fid:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    app.run(main)
