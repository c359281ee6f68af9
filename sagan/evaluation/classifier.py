"""The classifier of a dataset, whose features score generated images."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence

import gin
import keras
import tensorflow as tf

from sagan.config import Count, Fraction, checked, mismatch
from sagan.config.paths import image_folder
from sagan.layers.batch_norm import BatchNorm
from sagan.layers.pointwise import Pointwise
from sagan.layers.precision import Precision
from sagan.runs.files import file_sha256, whole_file, write_text

CLASSIFIER_FILE = "classifier.json"
WEIGHTS_FILE = "classifier.weights.h5"
_HOW = "python -m sagan.classifier --gin_config=configs/classifier_NAME.gin"


class ClassifierNetwork(keras.Model):
    """Stages of 3x3 convolutions, a pointwise layer and a linear head.

    Each stage halves height and width. The pointwise layer reduces the
    channels before they are averaged over positions and classified, so the
    head has `feature_dim` rows, however wide the last stage is.

    Args:
        image_size: Side of the images, a multiple of `2 ** len(stages)`.
        channels: Image channels, 1 or 3.
        num_classes: Number of logits.
        stages: For each stage, the filters of its convolutions: `((32,), (64,
            64))` has three convolutions and halves the image twice.
        feature_dim: Filters of the pointwise layer, the length of a feature
            vector.
        pointwise: Its implementation, a key of
            `sagan.layers.pointwise.IMPLEMENTATIONS`.
        dropout: Dropout rate of the features in training.
        precision: Dtype policy of the convolutions; variables, features and
            logits are always float32.

    Input shape: `[batch, image_size, image_size, channels]`, float in [-1, 1].
    Output shape: logits `[batch, num_classes]`, float32.

    Raises:
        ValueError: If `image_size` cannot be halved as often as asked.
    """

    def __init__(
        self,
        image_size,
        channels,
        num_classes,
        stages,
        feature_dim,
        pointwise="conv2d",
        dropout=0.0,
        precision="float32",
    ):
        super().__init__(dtype=precision, name="classifier")
        if image_size % 2 ** len(stages):
            raise ValueError(
                f"Images of side {image_size} cannot be halved {len(stages)} "
                f"times, once for each of the stages {stages}: give fewer."
            )
        # Arguments that rebuild it, for the file beside its weights.
        self.description = {
            "image_size": image_size,
            "channels": channels,
            "num_classes": num_classes,
            "stages": [list(widths) for widths in stages],
            "feature_dim": feature_dim,
            "pointwise": pointwise,
            "dropout": dropout,
        }
        self.image_shape = (image_size, image_size, channels)
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        # Named layers: Keras numbers others per process, so that equal weights
        # would give different files.
        layers = [keras.Input(self.image_shape)]
        for i, widths in enumerate(stages):
            layers += _stage(widths, precision, f"stage{i}")
        layers += _reduction(feature_dim, pointwise, precision)
        self.trunk = keras.Sequential(layers, name="trunk")
        self.head = keras.Sequential(
            [
                keras.Input((feature_dim,)),
                keras.layers.Dropout(dropout, dtype="float32", name="dropout"),
                keras.layers.Dense(num_classes, dtype="float32", name="logits"),
            ],
            name="head",
        )
        self(tf.zeros([1, *self.image_shape]))

    def embed(self, images, training=False):
        """Returns features and logits of images.

        Args:
            images: `[batch, image_size, image_size, channels]`, float.
            training: Whether batch norm and dropout run in training mode.

        Returns:
            Features `[batch, feature_dim]`, not negative, and logits `[batch,
            num_classes]`, both float32.
        """
        features = self.trunk(images, training=training)
        return features, self.head(features, training=training)

    def call(self, images, training=False):
        return self.embed(images, training)[1]


@gin.configurable(denylist=["image_size", "channels", "num_classes"])
@checked
def build_classifier(
    image_size: int,
    channels: int,
    num_classes: int,
    stages: Sequence[Sequence[int]] = gin.REQUIRED,
    feature_dim: Count = 128,
    pointwise: str = "conv2d",
    dropout: Fraction = 0.0,
    precision: Precision = "float32",
) -> ClassifierNetwork:
    """Builds a `ClassifierNetwork`, whose arguments it takes.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    _check_stages(stages)
    return ClassifierNetwork(
        image_size,
        channels,
        num_classes,
        stages,
        feature_dim,
        pointwise=pointwise,
        dropout=dropout,
        precision=precision,
    )


def _check_stages(stages):
    kinds = (tuple, list)
    fits = isinstance(stages, kinds) and stages
    if not fits or not all(isinstance(w, kinds) and w for w in stages):
        raise ValueError(
            f"build_classifier.stages is {stages!r}: expected a tuple of "
            "tuples such as ((32,), (64, 64))."
        )
    for width in itertools.chain(*stages):
        if expected := mismatch(width, Count):
            raise ValueError(
                f"build_classifier.stages is {stages!r}: expected {expected} "
                f"for each width, not {width!r}."
            )


def _stage(widths, precision, name):
    """Returns convolutions of the given widths, the last one max-pooled."""
    layers = []
    for i, width in enumerate(widths):
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,  # Batch norm adds one.
                kernel_initializer="he_normal",
                dtype=precision,
                name=f"{name}_conv{i}",
            )
        )
        if i == len(widths) - 1:
            # Before batch norm, which then reads a quarter of the positions.
            pool = keras.layers.MaxPooling2D(
                dtype=precision, name=f"{name}_pool"
            )
            layers.append(pool)
        layers += _norm_and_relu(precision, f"{name}_{i}")
    return layers


def _reduction(feature_dim, pointwise, precision):
    """Returns the pointwise layer and the average over positions."""
    return [
        Pointwise(
            feature_dim,
            pointwise,
            use_bias=False,
            spectral_norm=False,
            dtype=precision,
            name="reduction",
        ),
        *_norm_and_relu(precision, "reduction"),
        # Scores compare moments of features: not to be rounded to bfloat16.
        keras.layers.GlobalAveragePooling2D(dtype="float32", name="features"),
    ]


def _norm_and_relu(precision, name):
    return [
        # In a short run the moments must follow weights that still change.
        BatchNorm(decay=0.9, dtype=precision, name=f"{name}_norm"),
        keras.layers.ReLU(dtype=precision, name=f"{name}_relu"),
    ]


def default_folder(dataset_name: str) -> pathlib.Path:
    """Returns the default folder of a dataset's classifier."""
    if folder := image_folder(dataset_name):
        name = pathlib.Path(folder).resolve().name
    else:
        # Configs of several datasets have the same name, such as 64x64.
        name = dataset_name.replace("/", "_").replace(":", "_")
    return pathlib.Path("runs") / f"classifier_{name}"


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A classifier accurate enough to score images.

    Attributes:
        network: The trained network, in float32 whatever it was trained in.
        dataset: Name of the dataset whose labels it learnt.
        test_accuracy: Fraction of test images classified correctly.
        num_test_images: Number of test images.
        weights_sha256: Hash of the weights file; scores under different hashes
            do not compare.
        data: Description of the images it was trained on, see
            `ImageDataset.describe`; None in files of older versions.
        targets: What it learnt, see `train_classifier`.
    """

    network: ClassifierNetwork
    dataset: str
    test_accuracy: float
    num_test_images: int
    weights_sha256: str
    data: dict[str, object] | None = None
    targets: str = "labels"

    @property
    def num_classes(self) -> int:
        return self.network.num_classes

    @property
    def feature_dim(self) -> int:
        return self.network.feature_dim

    def embed(self, images) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns features and logits of images.

        Args:
            images: `[batch, image_size, image_size, channels]`, float in
                [-1, 1], of the classifier's own size and channels.

        Returns:
            Features `[batch, feature_dim]` and logits `[batch, num_classes]`,
            both float32.

        Raises:
            ValueError: If the images have another size.
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
    """Writes a classifier atomically.

    Args:
        workdir: Its folder; created if missing.
        network: The trained network.
        **results: `dataset`, `test_accuracy`, `num_test_images` and
            `minimum_accuracy`, which `load_classifier` needs, and anything
            else to record, as JSON values.

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
    """Loads a classifier from its folder, without a config.

    Args:
        workdir: Folder it was trained in.

    Raises:
        ValueError: If there is none, its training did not finish, a file is
            damaged, or it is less accurate on the test split than its config
            requires.
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
            f"{least:.2%}: too few to score images with it. Train longer "
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
    needed = needed - {"data", "targets"} | {"minimum_accuracy"}
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
    return f"Train it again: {_HOW} --workdir={path.parent}"


def _by(shape):
    return "x".join(map(str, shape))
