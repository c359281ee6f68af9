"""Scores of what an export generates, beside those of its checkpoint."""

import json
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from sagan.data.preprocessing import to_unit_range
from sagan.evaluation.embedding import embed_images
from sagan.evaluation.protocol import Evaluation
from sagan.evaluation.scores import score
from sagan.exporting.generators import restore_for_export
from sagan.exporting.program import in_batches
from sagan.latents import draw_latents

_BATCH_SIZE = 50


def read_record(path: pathlib.Path) -> dict:
    """Returns what `sagan.export` wrote beside an export.

    Raises:
        ValueError: If there is no such file.
    """
    record = path.with_name(f"{path.name}.json")
    if not record.is_file():
        raise ValueError(
            f"{path} has no {record.name} beside it: give the --out of a "
            "sagan.export, and leave both where they are."
        )
    return json.loads(record.read_text())


def exported_generator(workdir, records: Sequence[dict]):
    """Restores the generator that was exported; the run's config is parsed.

    Args:
        workdir: Folder of the run.
        records: The files beside the exports.

    Raises:
        ValueError: If they are not of one checkpoint and all of its classes.
    """
    names = ("network", "step", "weights", "statistics", "class", "bindings")
    one, *others = [[record.get(name) for name in names] for record in records]
    for other in others:
        if other != one:
            raise ValueError(
                f"The exports are not of one generator: {names} are {one} and "
                f"{other}. Export all with the same options."
            )
    network, step, weights, statistics, label, bindings = one
    if network != "generator" or label is not None or bindings:
        raise ValueError(
            "Only a generator of all classes, with the config of its run, can "
            "be compared with its checkpoint: export it without --label and "
            "--gin_bindings."
        )
    generator, _ = restore_for_export(
        workdir, str(step), weights == "ema", statistics, mode="unknown"
    )
    return generator


def score_export(
    evaluation: Evaluation, generator, call: Callable, record: dict
) -> float:
    """Returns the FID of what an export generates.

    Args:
        evaluation: What to compare with.
        generator: The generator that was exported.
        call: The export, from arrays to arrays by name.
        record: The file beside it.
    """
    shape = generator.latent_dim, generator.num_classes
    seed = [evaluation.seed, 0]
    latents, labels = draw_latents(evaluation.num_samples, *shape, seed)
    drawn = {"latents": latents.numpy(), "labels": labels.numpy()}

    def batches():
        for part in in_batches(drawn, _BATCH_SIZE):
            inputs = {name: part[name] for name in record["inputs"]}
            images = call(inputs)["images"]
            if images.dtype == np.uint8:
                images = to_unit_range(images)
            yield images, part["labels"]

    fake = embed_images(
        evaluation.network, batches(), evaluation.num_features_kept
    )
    return score(evaluation.real, fake, evaluation.class_names)[0]["fid"]
