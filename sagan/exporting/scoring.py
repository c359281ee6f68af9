"""Scores of what an export generates, beside those of its checkpoint."""

from collections.abc import Callable, Sequence

import numpy as np

from sagan.evaluation.embedding import embed_images
from sagan.evaluation.protocol import Evaluation
from sagan.evaluation.runs import find_step
from sagan.evaluation.samples import restored_generator, use_standing_moments
from sagan.evaluation.scores import score
from sagan.exporting.program import in_batches
from sagan.latents import draw_latents

_BATCH_SIZE = 50


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
    folder, step = find_step(workdir, str(step))
    generator, _, _ = restored_generator(
        workdir, step, weights == "ema", folder.name
    )
    if statistics == "standing":
        use_standing_moments(generator, seed=0)
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
            yield _to_float(call(inputs)["images"]), part["labels"]

    fake = embed_images(
        evaluation.network, batches(), evaluation.num_features_kept
    )
    return score(evaluation.real, fake, evaluation.class_names)[0]["fid"]


def _to_float(images):
    """Returns images in [-1, 1]."""
    if images.dtype == np.uint8:
        return images.astype(np.float32) / 127.5 - 1.0
    return images
