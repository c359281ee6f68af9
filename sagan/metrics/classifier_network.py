"""The classifier of a data set, whose features embed images for scores."""

import keras
import tensorflow as tf

from sagan.layers.norm import BatchNorm
from sagan.layers.pointwise import Pointwise


class ClassifierNetwork(keras.Model):
    """Stages of 3x3 convolutions, a pointwise layer, a linear head.

    Each stage ends with half the height and width. The pointwise layer then
    reduces the channels at each position before they are averaged over the
    image and classified, so the head has `feature_dim` rows rather than as
    many as the last stage has channels.

    Args:
        image_size: Side of the images, a multiple of `2 ** len(stages)`.
        channels: Of the images, 1 or 3.
        num_classes: Number of logits.
        stages: For each stage the channels after each of its convolutions:
            `((32,), (64, 64))` are three, and two halvings.
        feature_dim: Filters of the pointwise layer: length of the features.
        pointwise: Its implementation, a key of
            `sagan.layers.pointwise.IMPLEMENTATIONS`.
        dropout: Share of the features that the head does not see in training.
        precision: Dtype policy of the convolutions; variables, features and
            logits are float32 under each.

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
        # All that is needed to make it again, for the file beside its weights.
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
        # All layers are named, or Keras would number them by process and equal
        # weights would make unequal files.
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
        """Features and logits of images.

        Args:
            images: As the input shape says.
            training: Whether batch norm and dropout are those of training.

        Returns:
            Features `[batch, feature_dim]`, not negative, and logits `[batch,
            num_classes]`: both float32.
        """
        features = self.trunk(images, training=training)
        return features, self.head(features, training=training)

    def call(self, images, training=False):
        return self.embed(images, training)[1]


def _stage(widths, precision, name):
    """Convolutions of the given widths; the last keeps the largest of 2x2."""
    layers = []
    for i, width in enumerate(widths):
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,  # Batch norm has one.
                kernel_initializer="he_normal",
                dtype=precision,
                name=f"{name}_conv{i}",
            )
        )
        if i == len(widths) - 1:
            # Before batch norm, which then goes over a quarter of the places.
            pool = keras.layers.MaxPooling2D(
                dtype=precision, name=f"{name}_pool"
            )
            layers.append(pool)
        layers += _norm_and_relu(precision, f"{name}_{i}")
    return layers


def _reduction(feature_dim, pointwise, precision):
    """The pointwise layer, and the average of each of its filters."""
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
        # Scores compare moments of features: no rounding to bfloat16 here.
        keras.layers.GlobalAveragePooling2D(dtype="float32", name="features"),
    ]


def _norm_and_relu(precision, name):
    return [
        # A short run: the moments must follow weights that still move.
        BatchNorm(decay=0.9, dtype=precision, name=f"{name}_norm"),
        keras.layers.ReLU(dtype=precision, name=f"{name}_relu"),
    ]
