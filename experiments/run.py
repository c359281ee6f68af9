"""Makes the runs of an experiment; run it again to resume.

  python -m experiments.run --experiment=pointwise --seeds=3 --workdir=DIR
  python -m experiments.run --experiment=pointwise --workdir=DIR \\
    --arms=conv2d,matmul --gin_bindings="NUM_STEPS=100"
  python -m experiments.run --experiment=attention --workdir=DIR --dry_run \\
    --gin_config=configs/celeba.gin --data_dir=DATA

Each run is a process of its own in DIR/ARM/seed_N. See the results with
python -m experiments.report.
"""

import shlex
import signal
import sys

from absl import app, flags, logging

from sagan.cli import define_path, start_logging, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "experiment", None, "Name of a folder beside this file.", required=True
)
define_path("workdir", "Folder of the sweep.", required=True)
flags.DEFINE_integer("seeds", 3, "Seeds of each arm.", lower_bound=1)
flags.DEFINE_integer(
    "first_seed",
    0,
    "First seed: above those of a sweep, to confirm what that suggested.",
    lower_bound=0,
)
flags.DEFINE_list("arms", [], "Some arms only, such as conv2d,matmul.")
flags.DEFINE_multi_string(
    "gin_config",
    [],
    "Config file read before the arm: a delta after the experiment's base.gin, "
    "a whole config in its place.",
)
flags.DEFINE_multi_string(
    "gin_bindings", [], "Setting of all arms, such as NUM_STEPS=100."
)
define_path("data_dir", "Where TFDS datasets are.")
flags.DEFINE_integer("jobs", 1, "Runs at a time.", lower_bound=1)
flags.DEFINE_boolean(
    "dry_run", False, "Print the commands of all runs instead, one a line."
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_logging()
    from experiments.experiment import choose_arms, find_experiment, plan_runs

    try:
        experiment = find_experiment(FLAGS.experiment)
        arms = choose_arms(experiment, FLAGS.arms)
        # Parsing a config imports what it binds, and with it TensorFlow.
        start_tensorflow()
        runs = plan_runs(
            experiment,
            arms,
            FLAGS.seeds,
            FLAGS.workdir,
            FLAGS.gin_config,
            FLAGS.gin_bindings,
            FLAGS.data_dir,
            FLAGS.first_seed,
        )
    except ValueError as error:
        sys.exit(f"Error: {error}")
    if FLAGS.dry_run:
        print("\n".join(shlex.join(run.command) for run in runs))
        return
    from experiments.sweep import is_finished, run_all

    failed, stopped_by = run_all(runs, FLAGS.jobs)
    logging.info(
        "%d of %d runs are finished.", sum(map(is_finished, runs)), len(runs)
    )
    if failed:
        logging.error("Failed: %s.", "; ".join(map(str, failed)))
    if stopped_by:
        logging.info("Stopped by %s. The same command resumes.", stopped_by)
        sys.exit(128 + signal.Signals[stopped_by])
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
