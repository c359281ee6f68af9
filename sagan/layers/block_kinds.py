"""Main paths for the blocks besides the two 3x3 convolutions of the paper.

All have the residual block's form: each layer comes after ReLU, in the
generator after batch norm and ReLU; the generator's path up-samples at its
start, the discriminator's pools at its end. Where that is computed follows from
what commutes (`fused=False` computes it where it is defined):

- Nearest up-sampling commutes with everything that acts on positions alone:
  1x1 convolutions, ReLU, batch norm. It moves up to the first layer that sees
  neighbours, and is merged into a 3x3 or 5x5 convolution.
- Average pooling commutes with the 1x1 convolution before it, and is merged
  into a 3x3 or 5x5 convolution before it. It cannot pass a ReLU: the layers
  before the last one keep the higher resolution.
"""

from functools import partial
from typing import Literal, NamedTuple

import keras
import tensorflow as tf

from sagan.layers.conv import Conv3x3, Conv5x5, downsample, upsample
from sagan.layers.depthwise import DepthwiseConv3x3
from sagan.layers.pointwise import Pointwise
from sagan.layers.recalibration import Recalibration

BlockName = Literal["residual", "bottleneck", "separable", "inception", "nin"]


class Projection(keras.layers.Layer):
    """1x1 convolution at the lower of the resolutions before and after it.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` (nearest 2x before the convolution) or `"down"`
            (2x2 average pooling after it).
        fused: Whether it runs before the up-sampling and after the pooling,
            with which it commutes.
        pointwise: Recipe for the convolution.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.
    """

    def __init__(
        self, filters, resample=None, fused=True, pointwise=Pointwise, **kwargs
    ):
        super().__init__(**kwargs)
        self.before, self.after = {
            None: (None, None),
            "up": (upsample, None),
            "down": (None, downsample),
        }[resample]
        if fused:
            self.before, self.after = self.after, self.before
        self.pointwise = pointwise(filters)

    def call(self, inputs, training=False):
        if self.before:
            inputs = self.before(inputs)
        outputs = self.pointwise(inputs, training=training)
        return self.after(outputs) if self.after else outputs


class PoolProjection(keras.layers.Layer):
    """3x3 max pooling of stride 1, then a 1x1 convolution.

    With `"up"`, nearest 2x comes before the pooling. A 3x3 window of the larger
    image sees 2x2 pixels of the smaller one, so 2x2 pooling there, up-sampled
    and without its outermost pixels, is the same.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` or `"down"`, as in `Projection`.
        project: Recipe for the convolution, `Projection`.

    Input shape: `[batch, height, width, channels]`, float.
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
        inputs = tf.pad(
            inputs,
            [[0, 0], [1, 1], [1, 1], [0, 0]],
            constant_values=inputs.dtype.min,
        )
        outputs = tf.nn.max_pool2d(inputs, 2, 1, "VALID")
        outputs = self.projection(outputs, training=training)
        return outputs[:, 1:-1, 1:-1]


class Path(keras.layers.Layer):
    """Layers one after another, each after [batch norm and] ReLU.

    Args:
        stages: The layers.
        norm: Recipe for the batch norms, or None for none.
        first: Whether nothing comes before the first layer.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: that of the last layer.
    """

    def __init__(self, stages, norm=None, first=False, **kwargs):
        super().__init__(**kwargs)
        self.stages = tuple(stages)
        self.first = first
        self.norms = tuple(norm() for _ in self.stages[first:] if norm)

    def call(self, inputs, labels=None, training=False):
        outputs, norms = inputs, iter(self.norms)
        for i, stage in enumerate(self.stages):
            if i or not self.first:
                norm = next(norms, None)
                outputs = _activate(outputs, norm, labels, training)
            outputs = stage(outputs, training=training)
        return outputs


class Inception(keras.layers.Layer):
    """Four parallel paths, concatenated: 1x1; 1x1, 3x3; 1x1, 5x5; pool, 1x1.

    Of the output channels they have 1/4, 1/2, 1/8 and 1/8; the 1x1 before the
    3x3 has 3/4 as many filters as it, that before the 5x5 half as many.

    Args:
        filters: Number of output channels, at least 4.
        up: None, or `"up"` if the path starts with nearest 2x.
        down: None, or `"down"` if it ends with 2x2 average pooling.
        make: The `Recipes`.
        norm: Recipe for the batch norms, or None for none.
        first: Whether neither norm nor ReLU comes first.

    Input shape: `[batch, height, width, channels]`, and labels `[batch]`.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.

    Raises:
        ValueError: If there are too few filters for four paths.

    Source: Szegedy et al. (2015), arXiv:1409.4842, figure 2b, in about the
    proportions of its module 3a.
    """

    def __init__(
        self, filters, up, down, make, norm=None, first=False, **kwargs
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
        self.one = make.project(quarter, resample=resample)
        self.three, self.five = (
            Path(
                (make.project(narrow), conv(wide, resample=resample)),
                norm,
                first=True,
            )
            for conv, narrow, wide in (
                (make.conv, max(1, 3 * rest // 4), rest),
                (make.conv5, max(1, few // 2), few),
            )
        )
        self.pool = PoolProjection(few, resample, make.project)

    def call(self, inputs, labels=None, training=False):
        if not self.first:
            inputs = _activate(inputs, self.norm, labels, training)
        outputs = [
            self.one(inputs, training=training),
            self.three(inputs, labels, training=training),
            self.five(inputs, labels, training=training),
            self.pool(inputs, training=training),
        ]
        return tf.concat(outputs, axis=-1)


def _activate(inputs, norm, labels, training):
    if norm is not None:
        inputs = norm(inputs, labels, training=training)
    return tf.nn.relu(inputs)


class Recipes(NamedTuple):
    """Recipes for the layers of a path, each of which takes `resample`."""

    conv: partial
    conv5: partial
    depthwise: partial
    project: partial


def _bottleneck(filters, up, down, make, norm=None, first=False):
    """1x1 to a quarter, 3x3, 1x1 back: He et al. (2016), arXiv:1512.03385."""
    narrow = max(1, filters // 4)
    stages = (
        make.project(narrow),
        make.conv(narrow, resample=up),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first)


def _separable(filters, up, down, make, norm=None, first=False):
    """Twice a depthwise 3x3, then 1x1: Howard et al. (2017)."""
    stages = (
        make.depthwise(resample=up),
        make.project(filters),
        make.depthwise(),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first)


def _nin(filters, up, down, make, norm=None, first=False):
    """3x3, then twice 1x1 (mlpconv): Lin et al. (2014), arXiv:1312.4400."""
    stages = (
        make.conv(filters, resample=up),
        make.project(filters),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first)


_PATHS = {
    "bottleneck": _bottleneck,
    "separable": _separable,
    "inception": Inception,
    "nin": _nin,
}


def block_recipe(
    block,
    kind: BlockName,
    recalibrate: bool,
    pointwise,
    spectral_norm: bool,
    fused_resampling: bool,
    **options,
) -> partial:
    """Returns the recipe for a network's blocks.

    Args:
        block: `GeneratorBlock` or `DiscriminatorBlock`.
        kind: What its main path is.
        recalibrate: Whether the path ends with a `Recalibration`.
        pointwise: Recipe for all 1x1 convolutions.
        spectral_norm: Whether the other kernels are normalised.
        fused_resampling: Whether resampling is merged into the layers of the
            main path.
        **options: Further arguments of the block.
    """
    settings = {"spectral_norm": spectral_norm, "fused": fused_resampling}
    conv = partial(Conv3x3, **settings)
    make = Recipes(
        conv,
        partial(Conv5x5, **settings),
        partial(DepthwiseConv3x3, spectral_norm=spectral_norm),
        partial(Projection, fused=fused_resampling, pointwise=pointwise),
    )
    path = _PATHS.get(kind)
    return partial(
        block,
        conv=conv,
        pointwise=pointwise,
        main_path=path and partial(path, make=make),
        recalibration=(
            partial(Recalibration, pointwise=pointwise) if recalibrate else None
        ),
        **options,
    )
