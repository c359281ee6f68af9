"""The images that a classifier learns, and those that test it."""

import contextlib

import gin
from absl import logging

from sagan.config.paths import image_folder
from sagan.data import find_source, is_synthetic, make_dataset
from sagan.evaluation.compatibility import few
from sagan.evaluation.real_images import config_split


def open_splits(test_split, test_data, data_dir, download, targets):
    """Returns the images of the config to train on, and those to test on.

    Args are those of `train_classifier`.

    Raises:
        ValueError: If there are none to test on, or no labels.
    """
    settings = gin.get_bindings("make_dataset")
    name = settings.get("name", "")
    source = {"data_dir": data_dir, "download": download}
    if test_data:
        classes = settings.get("num_classes", 0)
        _check_test_data(test_data, name, classes, source)
    elif image_folder(name):
        raise ValueError(
            f"{name!r} has no split to test on: bind "
            "train_classifier.test_data to a folder of other images, as "
            "'folder:PATH'."
        )
    train = make_dataset(**source)
    if targets == "labels" and not train.num_classes:
        raise ValueError(
            f"A classifier of {train.name!r} needs its labels: bind "
            "make_dataset.num_classes to the number of its classes, or "
            "train_classifier.targets to 'rotation' if it has none."
        )
    if not test_data:
        return train, make_dataset(flip=False, split=test_split, **source)
    with _naming(test_data):
        return train, make_dataset(flip=False, name=test_data, **source)


def _check_test_data(test_data, name, num_classes, source):
    """Checks what the accuracy is measured on, before images are read.

    Raises:
        ValueError: If there is none, it has other classes, or it is what the
            classifier trains on.
    """
    if is_synthetic(name) or is_synthetic(test_data):
        raise ValueError(
            f"train_classifier.test_data is {test_data!r}, but synthetic "
            "images have a test split: leave it out."
        )
    train = find_source(name, config_split(), **source)
    with _naming(test_data):
        test = find_source(test_data, config_split(), **source)
    if test.identity().fingerprint == train.identity().fingerprint:
        raise ValueError(
            f"train_classifier.test_data is {test_data!r}, which has the "
            "images that it trains on: expected a folder of other ones."
        )
    learnt, asked = list(train.class_names), list(test.class_names)
    if num_classes and learnt != asked:
        raise ValueError(
            f"train_classifier.test_data is {test_data!r}, with the classes "
            f"{few(asked)}: expected those of {name!r}, which are "
            f"{few(learnt)}. Name its sub-folders as there."
        )


@contextlib.contextmanager
def _naming(test_data):
    """Names the setting in what is wrong with the images to test on."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(
            f"train_classifier.test_data is {test_data!r}: {error}"
        ) from error


def are_same(workdir, learnt, data_dir) -> bool:
    """Whether the images of the config are those that a classifier has learnt.

    False if they cannot be found, or follow from the settings.

    Args:
        workdir: Its folder.
        learnt: Description of its images.
        data_dir: As for `train_classifier`.

    Raises:
        ValueError: If they are others.
    """
    name = gin.get_bindings("make_dataset").get("name", "")
    if is_synthetic(name):
        return False
    try:
        source = find_source(name, config_split(), data_dir=data_dir)
        now = source.identity()
    except (OSError, ValueError) as error:
        logging.warning("The images are not compared: %s", error)
        return False
    if now.fingerprint != learnt["fingerprint"]:
        raise ValueError(
            f"{workdir} has a classifier of other images: {learnt['name']} "
            f"with fingerprint {learnt['fingerprint']}, not {now.full_name} "
            f"with {now.fingerprint}. Modified last: {', '.join(now.latest)}. "
            "Put the images back as they were, or train another one with "
            "another --workdir."
        )
    return True
