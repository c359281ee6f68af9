"""Scores during training, and the best checkpoint by one of them."""

import json
import os
import pathlib
import shutil

import gin
import tensorflow as tf
from absl import logging

from sagan.evaluation.protocol import Evaluation
from sagan.evaluation.records import write_record
from sagan.evaluation.samples import BATCH_SIZE, sample_batches
from sagan.runs.files import PARTIAL, write_text

BEST_FOLDER = "best"
_BEST_FILE = "best.json"
_OLD = f"{PARTIAL}old_{BEST_FOLDER}"
# Scores by which the best checkpoint can be chosen: lower or higher is better.
LOWER = ("fid", "kid", "intra_fid")
HIGHER = ("is", "precision", "recall", "density", "coverage")


class ScoresInTraining:
    """Scores the moving average during training and keeps the best checkpoint.

    Args:
        workdir: The run's folder.
        evaluation: Evaluation that scores the generator.
        generator: The generator that holds the moving average.
        by: Score that defines the best, in `LOWER` or `HIGHER`.
        statistics: Batch-norm statistics, one of `STATISTICS`.

    Raises:
        ValueError: If the evaluation has no such score.
    """

    def __init__(
        self, workdir, evaluation: Evaluation, generator, by, statistics
    ):
        if by not in evaluation.real_reference:
            raise ValueError(
                f"train.best_by is {by!r}, which these scores lack: expected "
                f"one of {', '.join(evaluation.real_reference)}. IS needs a "
                "feature network with logits, intra_fid needs labels."
            )
        self.workdir = pathlib.Path(workdir)
        self.evaluation = evaluation
        self.generator = generator
        self.by = by
        self.statistics = statistics
        self.record = None  # The last step scored.
        folder, old = self.workdir / BEST_FOLDER, self.workdir / _OLD
        if old.exists() and not folder.exists():
            os.replace(old, folder)  # Killed between the two renames.

    def measure(self, step: int) -> dict[str, float]:
        """Scores a step and records it; returns scores by name for the log."""
        record = self.evaluation.record(
            self.generator, step, "ema", self.statistics
        )
        write_record(self.workdir, record)
        self.record = record
        logging.info(
            "step %d  %s %.4g (%d samples; real images %.4g)",
            step,
            self.by,
            record[self.by],
            self.evaluation.num_samples,
            self.evaluation.real_reference[self.by],
        )
        return {
            f"score/{name}_ema": record[name]
            for name in (*LOWER, *HIGHER)
            if name in record
        }

    def keep_best(self, checkpoint: pathlib.Path) -> None:
        """Keeps the checkpoint of the step unless an earlier one was better."""
        if self._is_best(self.record[self.by]):
            self._keep(checkpoint)

    def _is_best(self, value):
        path = self.workdir / BEST_FOLDER / _BEST_FILE
        if not path.is_file():
            return True
        # Older versions recorded no statistics; theirs were moving.
        before = {"statistics": "moving"} | self._read_best(path)
        now = self._kind()
        old = before.get("protocol")
        if isinstance(old, dict) and "fingerprint" not in old:
            # Older versions went by the name of the data alone.
            ours = now["protocol"]
            names = {"dataset", "fingerprint"} & ours.keys()
            new = {name: ours[name] for name in names}
            before["protocol"] = old | new
        if any(before.get(key) != value for key, value in now.items()):
            return True  # The previous best does not compare.
        if self.by in LOWER:
            return value < before["value"]
        return value > before["value"]

    def _read_best(self, path):
        """Returns the record of the best so far; sets a damaged one aside."""
        try:
            return dict(json.loads(path.read_text()))
        except (ValueError, TypeError):
            aside = self.workdir / f"damaged_{BEST_FOLDER}"
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(path.parent, aside)
            logging.error(
                "%s is damaged. Its folder is now %s; the best checkpoint is "
                "chosen among those from now on.",
                path,
                aside,
            )
            return {}

    def _kind(self):
        return {
            "by": self.by,
            "statistics": self.statistics,
            "protocol": self.record["protocol"],
        }

    def _keep(self, checkpoint):
        folder = self.workdir / BEST_FOLDER
        partial = self.workdir / f"{PARTIAL}{BEST_FOLDER}"
        shutil.rmtree(partial, ignore_errors=True)
        # Checkpoints never change, so hard links suffice.
        shutil.copytree(
            checkpoint, partial / checkpoint.name, copy_function=_link
        )
        content = {
            "step": self.record["step"],
            "value": self.record[self.by],
            **self._kind(),
        }
        write_text(partial / _BEST_FILE, json.dumps(content) + "\n")
        old = self.workdir / _OLD
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(partial, folder)
        shutil.rmtree(old, ignore_errors=True)


def generate_for_chief(
    generator,
    num_samples: int,
    statistics: str,
    strategy: tf.distribute.Strategy,
) -> None:
    """Generates this worker's part of the images that the chief scores.

    Args:
        generator: The generator that holds the moving average.
        num_samples: Number of images of the chief's `Evaluation`.
        statistics: Batch-norm statistics of the chief, one of `STATISTICS`.
        strategy: Strategy of all workers.
    """
    seed = gin.get_bindings("make_evaluation").get("seed", 0)
    images = sample_batches(
        generator, num_samples, seed, BATCH_SIZE, statistics, strategy
    )
    for _ in images:
        pass  # The chief receives them.


def _link(source, target):
    try:
        os.link(source, target)
    except OSError:  # Some file systems have no hard links.
        shutil.copy2(source, target)
