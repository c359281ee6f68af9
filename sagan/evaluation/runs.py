"""Scores of a run's checkpoints."""

import pathlib
from collections.abc import Iterable

from absl import logging

from sagan.evaluation.best import BEST_FOLDER
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.real_images import config_split
from sagan.evaluation.records import (
    protocol_line,
    read_records,
    table,
    tables,
    write_record,
)
from sagan.evaluation.samples import restored_generator
from sagan.runs.checkpoints import (
    CHECKPOINT_FOLDER,
    checkpoint_steps,
    restore_generator,
)
from sagan.runs.record import last_data

ALL, LAST, BEST = "all", "last", "best"


def evaluate_run(
    workdir, data_dir, step: str, weights: Iterable[str], statistics
) -> list[str]:
    """Scores checkpoints of a run and records the scores.

    The run's config must have been parsed.

    Args:
        workdir: The run's folder.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        step: "all", "last", "best" (of those scored in training) or a step.
        weights: Weights to score, from `WEIGHTS`.
        statistics: Batch-norm statistics to use, from `STATISTICS`.

    Returns:
        Lines of a table.

    Raises:
        ValueError: If there is no such checkpoint, or it cannot be scored.
    """
    folder, steps = find_steps(workdir, step)
    # Before the data are opened, which may take long.
    generator, strategy, _ = restored_generator(
        workdir, steps[0], folder=folder.name
    )
    evaluation = make_evaluation(workdir, data_dir, strategy)
    protocol = evaluation.protocol
    trained_on = last_data(workdir) or protocol
    other = trained_on["fingerprint"] != protocol["fingerprint"]
    if other and protocol["split"] == config_split():
        logging.warning(
            "The real images are not those that the run was trained on."
        )
    records = []
    for number in steps:
        for which in weights:
            restore_generator(folder, generator, number, ema=which == "ema")
            for mode in statistics:
                record = evaluation.record(generator, number, which, mode)
                write_record(workdir, record)
                logging.info(
                    "Step %d, %s weights, %s statistics: FID %.2f, %.0f s.",
                    number,
                    which,
                    mode,
                    record["fid"],
                    record["seconds"],
                )
                records.append(record)
    return [*table(records), protocol_line(records[0])]


def recorded_tables(workdir) -> list[str]:
    """Returns tables of the recorded scores, one per protocol.

    Raises:
        ValueError: If there are none.
    """
    records = read_records(workdir)
    if not records:
        raise ValueError(f"{workdir} has no scores on record: score it first.")
    return tables(records)


def find_steps(
    workdir, step: str, several: bool = True
) -> tuple[pathlib.Path, list[int]]:
    """Returns the folder of checkpoints and the requested steps.

    Args:
        workdir: The run's folder.
        step: "all", "last", "best" (of those scored in training) or a step.
        several: Whether "all" is among the possible ones.

    Raises:
        ValueError: If there are none.
    """
    folder = pathlib.Path(workdir) / CHECKPOINT_FOLDER
    if step == BEST:
        folder = pathlib.Path(workdir) / BEST_FOLDER
        if not checkpoint_steps(folder):
            raise ValueError(
                f"{workdir} has no best checkpoint: train with "
                "train.evaluate_every, or give a step."
            )
    steps = checkpoint_steps(folder)
    if not steps:
        raise ValueError(f"There is no checkpoint in {folder}: train first.")
    if several and step == ALL:
        return folder, steps
    if step in (LAST, BEST):
        return folder, steps[-1:]
    if not step.isdigit() or int(step) not in steps:
        raise ValueError(
            f"--step is {step!r}: expected {'all, ' if several else ''}last, "
            f"best or one of {', '.join(map(str, steps))}."
        )
    return folder, [int(step)]


def find_step(workdir, step: str) -> tuple[pathlib.Path, int]:
    """Returns the folder of checkpoints and one step.

    Args:
        workdir: The run's folder.
        step: "last", "best" (of those scored in training) or a step.

    Raises:
        ValueError: If there is no such checkpoint.
    """
    folder, (number,) = find_steps(workdir, step, several=False)
    return folder, number
