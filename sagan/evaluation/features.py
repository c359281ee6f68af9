"""Feature networks: a classifier, the Inception graph, or any model."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

import gin
import keras
import tensorflow as tf

from sagan.config.paths import local_path, plain_path
from sagan.evaluation.classifier import (
    CLASSIFIER_FILE,
    default_folder,
    load_classifier,
)
from sagan.evaluation.inception import (
    PREPROCESSING,
    fetch_inception,
    load_inception,
)
from sagan.runs.files import file_sha256

INCEPTION = "inception-2015-12-05"


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A network whose features compare sets of images.

    Attributes:
        name: Name for records and file names.
        sha256: Hash of its weights; scores under different hashes do not
            compare.
        resize: Description of how images are resized before embedding.
        embed: Function from images `[batch, height, width, channels]`, float32
            in [-1, 1], to features `[batch, features]` and logits `[batch,
            classes]` or None, both float32.
        data: Description of the images it was trained on, if known.
        variant: What distinguishes its features under the same hash, for the
            names of files; empty for the default.
    """

    name: str
    sha256: str
    resize: str
    embed: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]
    data: dict[str, object] | None = None
    variant: str = ""


def open_features(
    features, preprocessing: str = "tensorflow", biased: bool = False
) -> FeatureNetwork:
    """Opens a feature network by name or path.

    Args:
        features: "classifier" for the one in runs/classifier_NAME, with the
            name of the config's dataset; "inception" for the graph in
            ~/.cache/sagan, downloaded at first use; or a path: a folder of
            `sagan.classifier`, a frozen Inception graph (`.pb`), a Keras model
            (`.keras`), or a SavedModel. The last two take images in [-1, 1],
            resized to their input if that has a fixed size, and return
            features, or features and logits. A graph or a SavedModel can
            contain any TensorFlow operation, including file access.
        preprocessing: Key of `inception.PREPROCESSING`, for the Inception
            graph.
        biased: Whether its logits have the bias of the class.

    Raises:
        ValueError: If it is none of these, or cannot be read.
    """
    path = _find(features)
    if (path / CLASSIFIER_FILE).is_file():
        return _open_classifier(path)
    if path.suffix == ".pb" and path.is_file():
        return FeatureNetwork(
            INCEPTION,
            file_sha256(path),
            PREPROCESSING[preprocessing][0],
            load_inception(path, preprocessing, biased),
            variant=_variant(preprocessing, biased),
        )
    if path.suffix == ".keras" and path.is_file():
        return _open_keras(path)
    if (path / "saved_model.pb").is_file():
        return _open_saved_model(path)
    what = "is not a feature network" if path.exists() else "does not exist"
    raise ValueError(
        f"{path} {what}: expected 'classifier', 'inception', a folder in which "
        "python -m sagan.classifier finished, a frozen Inception graph (.pb), "
        "a Keras model (.keras) or the folder of a SavedModel."
    )


def _variant(preprocessing, biased):
    names = [] if preprocessing == "tensorflow" else [preprocessing]
    return "-".join(names + ["biased"] * biased)


def _find(features):
    if features == "inception":
        return fetch_inception(pathlib.Path("~/.cache/sagan").expanduser())
    if features != "classifier":
        return pathlib.Path(
            local_path(str(features), "make_evaluation.features")
        )
    path = default_folder(gin.get_bindings("make_dataset").get("name"))
    if not path.is_dir():
        raise ValueError(
            f"There is no classifier in {path}. Train one with python -m "
            "sagan.classifier and a config such as "
            "configs/classifier_cifar10.gin for this dataset, or give another "
            "feature network: --features, or make_evaluation.features in a "
            "config."
        )
    return path


def _open_classifier(path):
    classifier = load_classifier(path)
    kind, embed = "classifier", classifier.embed
    if classifier.targets == "rotation":
        kind = "rotation"

        def embed(images):
            # Whether images are upright says nothing of their classes.
            return classifier.embed(images)[0], None

    return FeatureNetwork(
        f"{kind}-{as_file_name(classifier.dataset)}",
        classifier.weights_sha256,
        "none",
        tf.function(embed, autograph=False),
        classifier.data,
    )


def _open_keras(path):
    try:
        # Safe mode refuses layers that contain Python code.
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError) as error:
        raise ValueError(
            f"The Keras model {path} cannot be read: {error}"
        ) from error
    shape = model.inputs[0].shape[1:4]
    return _general(path.stem, file_sha256(path), shape, model)


def _open_saved_model(path):
    try:
        with plain_path(path) as plain:
            model = tf.saved_model.load(str(plain))
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The SavedModel {path} cannot be read: {error}"
        ) from error
    signature = model.signatures.get("serving_default")
    if signature is None:
        raise ValueError(
            f"The SavedModel {path} has no signature 'serving_default': save "
            "it with one, from images to features (and logits)."
        )
    specs = list(signature.structured_input_signature[1].values())
    if len(specs) != 1:
        raise ValueError(
            f"The SavedModel {path} takes {len(specs)} inputs: expected one, "
            "the images."
        )
    (spec,) = specs
    files = sorted(file for file in path.rglob("*") if file.is_file())

    def call(images):
        outputs = signature(**{spec.name: images})
        # By name: features before logits, output_0 before output_1.
        return [outputs[name] for name in sorted(outputs)]

    # The signature does not keep its model's variables alive.
    call.model = model
    return _general(path.name, file_sha256(*files), spec.shape[1:4], call)


def _general(name, sha256, shape, model):
    *size, channels = shape
    size = tuple(size)
    fixed = None not in size

    @functools.partial(tf.function, autograph=False)
    def embed(images):
        if images.shape[-1] == 1 and channels == 3:
            images = tf.repeat(images, 3, axis=-1)
        if fixed and tuple(images.shape[1:3]) != size:
            images = tf.image.resize(images, size, antialias=True)
        outputs = tf.nest.flatten(model(images))
        features, *logits = (
            tf.cast(tf.reshape(output, [tf.shape(images)[0], -1]), tf.float32)
            for output in outputs[:2]
        )
        return features, (logits[0] if logits else None)

    by = "x".join(map(str, size))
    resize = f"bilinear with antialiasing to {by}" if fixed else "none"
    return FeatureNetwork(as_file_name(name), sha256, resize, embed)


def as_file_name(text: str) -> str:
    """Replaces the characters of a text that a file name may not contain."""
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in text)
