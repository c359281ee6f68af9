"""Self-attention over image positions, and the paper's control for it.

In the paper's letters, the 1x1 convolutions f, g and h compute keys, queries
and values, v is the output projection and gamma the gate of the residual. The
released code calls them phi, theta, g, sn_conv_attn and sigma_ratio.
"""

import functools
from collections.abc import Callable
from typing import Literal

import keras
import tensorflow as tf

from sagan.layers.affine import scale
from sagan.layers.blockwise_attention import (
    attend_in_blocks,
    attention_map,
    default_block,
)
from sagan.layers.conv import Conv3x3
from sagan.layers.pointwise import IMPLEMENTATIONS, Pointwise

AttentionName = Literal["released", "paper", "residual"]


class SelfAttention(keras.layers.Layer):
    """`x + gamma * v(softmax(g(x) f(x)^T) h(x))`, gamma starting at zero.

    Two variants:
    `"released"`: f and g have C/8 channels, h has C/2; keys and values are 2x2
    max-pooled. This code produced the published scores.
    `"paper"`: f, g and h all have C/8 channels and nothing is pooled.

    Neither scales by the key length or has a bias or an activation. Scores and
    softmax are float32 under every dtype policy: a score of 256 rounded to
    bfloat16 is off by up to 1, and its weight by a factor of e.

    Args:
        variant: `"released"` or `"paper"`.
        pointwise: Recipe for the 1x1 convolutions: `Pointwise`, or a `partial`
            of it.
        fused_fgh: Whether f, g and h are one product with their concatenated
            kernels, then split: the same function of the same weights.
        query_block: Queries processed at a time, so that the whole map is
            never in memory: 0 for all, None for a default by its size (sizes
            unknown at tracing count as small).

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: as the input, in `compute_dtype`.

    Raises:
        ValueError: If `variant` is unknown, or f, g and h cannot be fused as
            the kernels of `pointwise` cannot be concatenated.

    Source: Zhang et al. (2019), arXiv:1805.08318, equations 1 to 3;
    `sn_non_local_block_sim` in non_local.py of the released code.
    """

    def __init__(
        self,
        variant="released",
        pointwise=Pointwise,
        fused_fgh=False,
        query_block=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if variant not in ("released", "paper"):
            raise ValueError(
                f"Unknown attention variant {variant!r}: expected 'released' "
                "or 'paper'."
            )
        self.pooled = variant == "released"
        self.pointwise = pointwise
        self.fused = fused_fgh
        self.query_block = query_block

    def build(self, input_shape):
        channels = input_shape[-1]
        narrow = max(1, channels // 8)
        value = max(1, channels // 2) if self.pooled else narrow
        self.f = _projection(self, narrow, "f")  # key
        self.g = _projection(self, narrow, "g")  # query
        self.h = _projection(self, value, "h")  # value
        self.v = _projection(self, channels, "v")  # output
        if self.fused and self.f.implementation not in IMPLEMENTATIONS:
            raise ValueError(
                "fused_fgh does not go with pointwise "
                f"{self.f.implementation!r}: expected one of "
                f"{', '.join(sorted(IMPLEMENTATIONS))}."
            )
        for layer in (self.f, self.g, self.h):
            layer.build(input_shape)
        self.v.build((*input_shape[:-1], value))
        self.gamma = self.add_weight(
            name="gamma", shape=(), initializer="zeros", autocast=False
        )  # gate

    def attention_map(self, inputs, training=False):
        """Returns the attention weights of each position.

        Args:
            inputs: `[batch, height, width, channels]`, float.
            training: Whether `u` keeps the result of its power iteration.

        Returns:
            `[batch, height * width, keys]`, float32, each row summing to one,
            with `ceil(height / 2) * ceil(width / 2)` keys if pooled, else
            `height * width`, both in row-major order.
        """
        keys, queries, _ = self._project(inputs, training)
        return attention_map(keys, queries)

    def call(self, inputs, training=False):
        keys, queries, values = self._project(inputs, training)
        block = self._block(queries.shape[1], keys.shape[1])
        if block:
            outputs = attend_in_blocks(keys, queries, values, block)
        else:
            attention = attention_map(keys, queries)
            outputs = tf.matmul(tf.cast(attention, values.dtype), values)
        shape = tf.shape(inputs)
        outputs = tf.reshape(
            outputs, [shape[0], shape[1], shape[2], values.shape[-1]]
        )  # [batch, height, width, channels of h]
        outputs = self.v(outputs, training=training)
        return inputs + scale(outputs, tf.convert_to_tensor(self.gamma))

    def _project(self, inputs, training):
        """Returns keys, queries and values, `[batch, positions, channels]`.

        Keys and queries are float32, values in the compute dtype.
        """
        layers = (self.f, self.g, self.h)
        if self.fused:
            with tf.name_scope("pointwise"):  # The scope of a `Pointwise`.
                kernels = [layer.effective_kernel(training) for layer in layers]
                outputs = self.f.apply(inputs, tf.concat(kernels, -1))
            keys, queries, values = tf.split(
                outputs, [layer.filters for layer in layers], axis=-1
            )
        else:
            keys, queries, values = (
                layer(inputs, training=training) for layer in layers
            )
        keys, values = self._pool(keys), self._pool(values)
        return (
            _positions(tf.cast(keys, tf.float32)),
            _positions(tf.cast(queries, tf.float32)),
            _positions(values),
        )

    def _block(self, queries, keys):
        if self.query_block is not None:
            return self.query_block
        return default_block(queries, keys) if queries and keys else 0

    def _pool(self, inputs):
        if not self.pooled:
            return inputs
        return tf.nn.max_pool2d(inputs, ksize=2, strides=2, padding="SAME")


class ResidualControl(keras.layers.Layer):
    """A residual bottleneck with as many parameters as `SelfAttention`.

    Pre-activation 1x1, 3x3 and 1x1 convolutions of width `m` without bias,
    gated like the attention: `2 C m + 9 m^2` equals the released block's
    `1.25 C^2` at `m = 5 C / 18`, here rounded.

    Args:
        pointwise: Recipe for the 1x1 convolutions.
        conv: Recipe for the 3x3 convolution.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: as the input, in `compute_dtype`.

    Source: the paper compares attention with "residual blocks with the same
    number of parameters" (section 5.2) without giving their layers; the
    bottleneck and the gate are this project's reading.
    """

    def __init__(self, pointwise=Pointwise, conv=Conv3x3, **kwargs):
        super().__init__(**kwargs)
        self.pointwise = pointwise
        self.make_conv = conv

    def build(self, input_shape):
        channels = input_shape[-1]
        width = max(1, round(5 * channels / 18))
        self.reduce = _projection(self, width, "reduce")
        self.conv = self.make_conv(
            width, use_bias=False, dtype=self.dtype_policy, name="conv"
        )
        self.expand = _projection(self, channels, "expand")
        self.reduce.build(input_shape)
        self.conv.build((*input_shape[:-1], width))
        self.expand.build((*input_shape[:-1], width))
        self.gamma = self.add_weight(
            name="gamma", shape=(), initializer="zeros", autocast=False
        )  # gate

    def call(self, inputs, training=False):
        outputs = inputs
        for layer in (self.reduce, self.conv, self.expand):
            outputs = layer(tf.nn.relu(outputs), training=training)
        return inputs + scale(outputs, tf.convert_to_tensor(self.gamma))


def _projection(block, filters, name):
    """Makes one of a block's 1x1 convolutions, which differ only in width."""
    return block.pointwise(
        filters, use_bias=False, dtype=block.dtype_policy, name=name
    )


def _positions(inputs):
    """Reshapes `[batch, height, width, c]` to `[batch, positions, c]`."""
    return tf.reshape(inputs, [tf.shape(inputs)[0], -1, inputs.shape[-1]])


def attention_recipe(
    attention: AttentionName, pointwise, conv, **options
) -> Callable:
    """Returns the recipe for an attention block, or for its control.

    Args:
        attention: Variant of `SelfAttention`, or "residual" for the
            `ResidualControl`.
        pointwise: Recipe for the 1x1 convolutions.
        conv: Recipe for the 3x3 convolution of the control.
        **options: Further arguments of `SelfAttention`.
    """
    if attention == "residual":
        return functools.partial(ResidualControl, pointwise, conv)
    return functools.partial(SelfAttention, attention, pointwise, **options)


def attention_blocks(network):
    """Returns the attention blocks of a network by name, in call order."""
    return {
        layer.name: layer
        for layer in network.attentions
        if hasattr(layer, "gamma")
    }


def attention_stages(stages, resolutions, attention):
    """Makes one layer per stage: attention where requested, else the identity.

    Args:
        stages: Resolution of the features at each stage. Where several stages
            share one, the first gets the block.
        resolutions: Resolutions that get an attention block.
        attention: Recipe for a block.

    Returns:
        Tuple of layers, as long as `stages`.

    Raises:
        ValueError: If no stage has one of the resolutions.
    """
    missing = sorted(set(resolutions) - set(stages))
    if missing:
        raise ValueError(
            f"attention_resolutions has {missing}, but the features of this "
            f"network are {sorted(set(stages))} pixels wide."
        )
    return tuple(
        attention(name=f"attention_{resolution}")
        if resolution in resolutions and resolution not in stages[:i]
        else keras.layers.Identity()
        for i, resolution in enumerate(stages)
    )
