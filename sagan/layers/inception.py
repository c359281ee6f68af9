"""The Inception module: parallel paths of several sizes, concatenated."""

import keras
import tensorflow as tf

from sagan.layers.composite import Composite
from sagan.layers.path import Path, Projection


class PoolProjection(Composite, keras.layers.Layer):
    """3x3 max pooling of stride 1, then a 1x1 convolution.

    With `"up"`, nearest 2x comes before the pooling. A 3x3 window of the larger
    image sees 2x2 pixels of the smaller one, so 2x2 pooling there, up-sampled
    and without its outermost pixels, is the same. It is padded with zeros,
    which are no maximum beside outputs of a ReLU.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` or `"down"`, as in `Projection`.
        project: Recipe for the convolution, `Projection`.

    Input shape: `[batch, height, width, channels]`, float; none below zero
        with `"up"`.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.
    """

    def __init__(self, filters, resample=None, project=Projection, **kwargs):
        super().__init__(**kwargs)
        self.up = resample == "up"
        self.projection = project(filters, resample=resample)

    def call(self, inputs, training=False):
        if not self.up:
            outputs = tf.nn.max_pool2d(inputs, 3, 1, "SAME")
            return self.projection(outputs, training=training)
        inputs = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
        outputs = tf.nn.max_pool2d(inputs, 2, 1, "VALID")
        outputs = self.projection(outputs, training=training)
        return outputs[:, 1:-1, 1:-1]


class Inception(Composite, keras.layers.Layer):
    """Four parallel paths, concatenated: 1x1; 1x1, 3x3; 1x1, 5x5; pool, 1x1.

    They get 1/4, 1/2, 1/8 and 1/8 of the output channels; the 1x1 before the
    3x3 has 3/4 as many filters as it, that before the 5x5 half as many.

    Args:
        filters: Number of output channels, at least 4.
        up: None, or `"up"` if the path starts with nearest 2x.
        down: None, or `"down"` if it ends with 2x2 average pooling.
        make: The `Recipes`.
        norm: Recipe for the batch norms, or None for none.
        first: Whether neither norm nor ReLU comes first.
        skip_bias: As in `Path`.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.

    Raises:
        ValueError: If there are too few filters for four paths.

    Source: Szegedy et al. (2015), arXiv:1409.4842, figure 2b, in about the
    proportions of its module 3a.
    """

    def __init__(
        self,
        filters,
        up,
        down,
        make,
        norm=None,
        first=False,
        skip_bias=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters < 4:
            raise ValueError(
                f"An 'inception' block has {filters} filters: expected at "
                "least 4, one for each of its paths. Increase base_channels."
            )
        few, quarter = max(1, filters // 8), filters // 4
        rest = filters - quarter - 2 * few
        resample = up or down
        self.norm = norm() if norm and not first else None
        self.first = first
        self.elementwise = make.elementwise
        self.one = make.project(quarter, resample=resample)
        self.three, self.five = (
            Path(
                (make.project(narrow), conv(wide, resample=resample)),
                norm,
                first=True,
                elementwise=make.elementwise,
                skip_bias=skip_bias,
            )
            for conv, narrow, wide in (
                (make.conv, max(1, 3 * rest // 4), rest),
                (make.conv5, max(1, few // 2), few),
            )
        )
        self.pool = PoolProjection(few, resample, make.project)

    def call(self, inputs, labels=None, training=False):
        if self.norm:
            inputs = self.norm(
                inputs, labels, training=training, elementwise=self.elementwise
            )
        elif not self.first:
            inputs = self.elementwise.relu(inputs)
        outputs = [
            self.one(inputs, training=training),
            self.three(inputs, labels, training=training),
            self.five(inputs, labels, training=training),
            self.pool(inputs, training=training),
        ]
        return tf.concat(outputs, axis=-1)
