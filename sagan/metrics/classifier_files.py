"""A trained classifier on disk: written whole, refused unless fit to score.

Two files: the weights, and `classifier.json`, which says how to build the
network, how accurate it is and what the weights' hash is. The second is
written last, so a folder that has it has a finished classifier.
"""

import dataclasses
import json
import pathlib

import tensorflow as tf

from sagan.files import whole_file, write_text
from sagan.metrics.classifier_network import ClassifierNetwork
from sagan.metrics.hashes import file_sha256

CLASSIFIER_FILE = "classifier.json"
WEIGHTS_FILE = "classifier.weights.h5"
_HOW = "python -m sagan.classifier --gin_config=configs/classifier_NAME.gin"


def default_folder(dataset_name: str) -> pathlib.Path:
    """Returns where the classifier of a data set is unless said otherwise."""
    name = pathlib.Path(dataset_name.removeprefix("folder:")).name
    return pathlib.Path("runs") / f"classifier_{name}"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier that may score images.

    Attributes:
        network: With its weights, in float32 whatever it was trained in.
        dataset: Name of the data set whose labels it learnt.
        test_accuracy: Share of the test images it gets right.
        num_test_images: Their number.
        weights_sha256: Hash of the file of its weights: scores by classifiers
            of different hashes do not compare.
    """

    network: ClassifierNetwork
    dataset: str
    test_accuracy: float
    num_test_images: int
    weights_sha256: str

    @property
    def num_classes(self) -> int:
        return self.network.num_classes

    @property
    def feature_dim(self) -> int:
        return self.network.feature_dim

    def embed(self, images) -> tuple[tf.Tensor, tf.Tensor]:
        """Features and logits of images.

        Args:
            images: `[batch, image_size, image_size, channels]`, float in
                [-1, 1], of the classifier's own size and channels.

        Returns:
            Features `[batch, feature_dim]` and logits `[batch, num_classes]`,
            both float32.

        Raises:
            ValueError: If the images are of another size.
        """
        if tuple(images.shape[1:]) != self.network.image_shape:
            raise ValueError(
                f"The images are {_by(images.shape[1:])}, but the classifier "
                f"of {self.dataset!r} embeds {_by(self.network.image_shape)}: "
                "train one at the size of the images."
            )
        return self.network.embed(images)


def save_classifier(
    workdir, network: ClassifierNetwork, **results
) -> pathlib.Path:
    """Writes a classifier, complete or not at all.

    Args:
        workdir: The folder; made if absent.
        network: What was trained.
        **results: What `load_classifier` needs (`dataset`, `test_accuracy`,
            `num_test_images`, `minimum_accuracy`) and what else should be on
            record: values that JSON has.

    Returns:
        Path of the file that describes it.
    """
    workdir = pathlib.Path(workdir)
    with whole_file(workdir / WEIGHTS_FILE) as partial:
        network.save_weights(partial)
    record = {
        **results,
        "network": network.description,
        "weights_sha256": file_sha256(workdir / WEIGHTS_FILE),
    }
    path = workdir / CLASSIFIER_FILE
    write_text(path, json.dumps(record, indent=2) + "\n")
    return path


def load_classifier(workdir) -> Classifier:
    """Reads a classifier back, if it may score anything.

    Needs no config: only the folder.

    Args:
        workdir: What it was trained in.

    Raises:
        ValueError: If there is none, its training did not finish, a file is
            damaged, or it is less accurate on the test split than its config
            required.
    """
    path = pathlib.Path(workdir) / CLASSIFIER_FILE
    record = _read_record(path)
    weights = path.with_name(WEIGHTS_FILE)
    found = file_sha256(weights) if weights.is_file() else "missing"
    if found != record["weights_sha256"]:
        raise ValueError(
            f"The weights {weights} are damaged: their SHA-256 is {found}, "
            f"expected {record['weights_sha256']}. {_fix(path)}"
        )
    accuracy, least = record["test_accuracy"], record["minimum_accuracy"]
    if not accuracy >= least:
        raise ValueError(
            f"The classifier {path} is right on {accuracy:.2%} of "
            f"{record['num_test_images']} test images, required are "
            f"{least:.2%}: too few for it to score anything. Train longer "
            "(EPOCHS) or wider (build_classifier.stages)."
        )
    try:
        network = ClassifierNetwork(**record["network"])
        network.load_weights(weights)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not describe the network of its weights "
            f"({str(error).splitlines()[0]}). {_fix(path)}"
        ) from error
    fields = {field.name for field in dataclasses.fields(Classifier)}
    known = {key: record[key] for key in fields & record.keys()}
    return Classifier(**{**known, "network": network})


def _read_record(path):
    if not path.is_file():
        raise ValueError(
            f"{path.parent} has no finished classifier: there is no "
            f"{path.name}. {_fix(path)}"
        )
    needed = {field.name for field in dataclasses.fields(Classifier)}
    needed.add("minimum_accuracy")
    try:
        record = json.loads(path.read_text())
        missing = sorted(needed - record.keys())
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). {_fix(path)}"
        ) from error
    if missing:
        raise ValueError(
            f"{path} is damaged: it lacks {', '.join(missing)}. {_fix(path)}"
        )
    return record


def _fix(path):
    return f"Train it anew: {_HOW} --workdir={path.parent}"


def _by(shape):
    return "x".join(map(str, shape))
