"""Writes the report of a sweep, finished or not, from what its runs logged.

  python -m experiments.report --experiment=pointwise --workdir=DIR
  python -m experiments.report --experiment=attention --workdir=DIR \\
    --out=/tmp/report --baseline=none

The report is report.md with results.csv, curves.png, drift.png and samples.png
beside it.
"""

import pathlib
import sys

from absl import app, flags, logging

from sagan.cli import define_path, start_logging, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "experiment", None, "Name of a folder beside this file.", required=True
)
define_path("workdir", "Folder of the sweep.", required=True)
define_path("out", "Folder of the report; by default the experiment's results.")
flags.DEFINE_string(
    "baseline", None, "Arm to compare with, if not the experiment's baseline."
)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_logging()
    from experiments.experiment import choose_arms, find_experiment

    try:
        experiment = find_experiment(FLAGS.experiment)
        baseline = FLAGS.baseline or experiment.baseline
        choose_arms(experiment, [baseline])
        start_tensorflow()
        from experiments.results import read_sweep
        from sagan.evaluation.records import check_same_protocol, read_records

        results = read_sweep(FLAGS.workdir)
        if not results:
            raise ValueError(
                f"{FLAGS.workdir} is not the folder of a sweep: it has no "
                "ARM/seed_N in it."
            )
        # Scores of one column of a table have to compare.
        records = [read_records(result.folder) for result in results]
        check_same_protocol([r[-1] for r in records if r])
    except ValueError as error:
        sys.exit(f"Error: {error}")
    out = pathlib.Path(FLAGS.out or experiment.folder / "results")
    out.mkdir(parents=True, exist_ok=True)
    write_report(experiment, baseline, results, out)
    logging.info("Wrote %s.", out / "report.md")


def write_report(experiment, baseline, results, out):
    """Writes the files of a report.

    Args:
        experiment: The `Experiment`.
        baseline: Arm to compare with.
        results: The `Result` of each run.
        out: Path of the folder.
    """
    from experiments import differences, plots, tables
    from experiments.results import measure_sweep, write_csv
    from sagan.runs.files import write_text

    found = {result.arm for result in results}
    # The baseline first, arms without a file last.
    order = [*experiment.arms, *sorted(found.difference(experiment.arms))]
    arms = {
        arm: [result for result in results if result.arm == arm]
        for arm in order
        if arm in found
    }
    numbers = measure_sweep(arms)
    primary = experiment.primary
    write_csv(out / "results.csv", [r for runs in arms.values() for r in runs])
    plots.save_curves(out / "curves.png", arms)
    plots.save_drift(out / "drift.png", arms, baseline)
    samples = plots.save_samples(out / "samples.png", arms)
    lines = [
        *tables.header(experiment, baseline, arms),
        *differences.primary_score(numbers, baseline, primary),
        *differences.how_to_read(baseline),
        *tables.settings(arms),
        *tables.summary(numbers),
        *differences.differences(numbers, baseline, primary.name),
        *tables.drift(arms, baseline),
        "",
        "![Distance of d_loss by step](drift.png)",
        "",
        "## Exploratory: learning curves",
        "",
        "Mean over seeds, with a band of one standard deviation.",
        "",
        "![Losses, gammas and scores by step](curves.png)",
        "",
        "## Exploratory: samples",
        "",
        "The first seed's newest samples of the averaged weights, from the "
        "same latents in each arm."
        if samples
        else "No run has drawn samples yet.",
        *(["", "![Samples of each arm](samples.png)"] if samples else []),
    ]
    write_text(out / "report.md", "\n".join(lines) + "\n")


if __name__ == "__main__":
    app.run(main)
