"""Scores a run's checkpoints: FID, KID, IS, precision, recall and more.

  python -m sagan.evaluate --workdir=runs/cifar10 --data_dir=DIR
  python -m sagan.evaluate --workdir=runs/cifar10 --step=all \\
    --features=runs/classifier_cifar10 --num_samples=10000 --weights=ema,raw

Every score goes to scores.jsonl in the run's folder, with its protocol.
"""

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of the run.", required=True)
cli.define_path("data_dir", "Folder of TFDS datasets.")
flags.DEFINE_string("step", "last", "all, last, best or a step.")
flags.DEFINE_string(
    "protocol", None, "own, paper, studiogan, mimicry or clean."
)
cli.define_features_flag()
flags.DEFINE_integer("num_samples", None, "Generated images.", lower_bound=6)
flags.DEFINE_list("weights", ["ema"], "ema, raw or both.")
flags.DEFINE_list(
    "statistics", ["moving"], "Of batch norm: moving, batch, standing."
)
flags.DEFINE_boolean("table", False, "Only print the scores on record.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.evaluation.protocol import WEIGHTS
        from sagan.evaluation.published import PROTOCOLS
        from sagan.evaluation.runs import evaluate_run, recorded_tables
        from sagan.evaluation.samples import STATISTICS
        from sagan.runs.record import parse_recorded_config

        if FLAGS.protocol is not None:
            cli.check_choices("--protocol", [FLAGS.protocol], PROTOCOLS)
        cli.check_choices("--weights", FLAGS.weights, WEIGHTS)
        cli.check_choices("--statistics", FLAGS.statistics, STATISTICS)
        bindings = cli.evaluation_bindings(
            "protocol", "features", "num_samples"
        )
        workdir, data_dir = FLAGS.workdir, FLAGS.data_dir
        parse_recorded_config(workdir, bindings, data_dir)
        if FLAGS.table:
            lines = recorded_tables(workdir)
        else:
            lines = evaluate_run(
                workdir, data_dir, FLAGS.step, FLAGS.weights, FLAGS.statistics
            )
    print("\n".join(lines))


if __name__ == "__main__":
    app.run(main)
