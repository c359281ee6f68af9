"""A trained classifier as a `Program`."""

from sagan.config import settings_of
from sagan.data.batches import first_examples
from sagan.evaluation.classifier import load_classifier
from sagan.evaluation.classifier_batches import turned_batches
from sagan.evaluation.classifier_data import open_splits
from sagan.exporting.program import (
    Options,
    Program,
    call_in_batches,
    recorded_config,
)
from sagan.runs.record import parse_recorded_config

# Test images, enough to tell accuracies apart, and training images, enough for
# the ranges of activations.
_EXAMPLES, _CALIBRATION = 2000, 256
_BATCH_SIZE = 100
# Settings of `train_classifier` that say what it is tested on.
_SPLITS = ("test_split", "test_data", "targets")
_ONLY_OF_GENERATORS = (
    "step", "ema", "statistics", "attention", "pixels", "label",
)  # fmt: skip


def open_classifier(
    workdir, bindings, data_dir: str | None, options: Options
) -> Program:
    """Loads a classifier, and images of its dataset to prove it with.

    Args:
        workdir: Folder that `sagan.classifier` trained it in.
        bindings: Override its config, as in `sagan.config.parse_config`.
        data_dir: Folder of TFDS datasets; None for the TFDS default.
        options: What to export.

    Raises:
        ValueError: If there is no finished classifier in the folder, or an
            option is for generators.
        FileNotFoundError: If its dataset is missing.
    """
    for name in _ONLY_OF_GENERATORS:
        if getattr(options, name) != getattr(Options(), name):
            raise ValueError(
                f"--{name} is for generators, but {workdir} is a classifier: "
                "leave it out."
            )
    parse_recorded_config(workdir, bindings, data_dir)
    classifier = load_classifier(workdir)
    network = classifier.network
    settings = settings_of("train_classifier", _SPLITS)
    train, test = open_splits(**settings, data_dir=data_dir, download=False)
    turned = settings["targets"] == "rotation"
    images, labels = _first(test, _EXAMPLES, turned)

    def compute(images):
        features, logits = network.embed(images)
        return {"logits": logits, "features": features}

    examples = {"images": images}
    return Program(
        compute,
        options.batch,
        examples,
        expected=call_in_batches(
            lambda inputs: compute(**inputs), examples, _BATCH_SIZE
        ),
        calibration={"images": _first(train, _CALIBRATION, turned)[0]},
        meanings={
            "images": "rows, columns, channels (RGB or grey); -1 is black, "
            "1 white",
            "logits": "of each class, or of turns by 0, 90, 180 and 270 "
            "degrees; the largest is the guess",
            "features": "not negative; what FID compares",
        },
        record={
            "network": "classifier",
            "classes": (classifier.data or {}).get("classes", []),
            **recorded_config(workdir, bindings),
        },
        labels=labels,
    )


def _first(dataset, number, turned):
    """Returns the first images and labels of a pass."""
    batches = dataset.one_pass()
    if turned:
        batches = turned_batches(batches)
    batches = dataset.checked(batches.as_numpy_iterator())
    return first_examples(batches, number)
