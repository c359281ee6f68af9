"""The pointwise layer: a 1x1 convolution, its formulation chosen by name.

Each function of `IMPLEMENTATIONS` maps `[batch, height, width, channels]` and
a kernel `[1, 1, channels, filters]`, of one dtype, to `[batch, height, width,
filters]`. They are one function of the same weights, written in different
ways; which is fast is a matter of shape, dtype and device.
"""

import keras
import tensorflow as tf

from sagan.layers.spectral_norm import SpectralLayer


def conv2d(inputs, kernel):
    """The framework's convolution."""
    return tf.nn.conv2d(inputs, kernel, strides=1, padding="VALID")


def dense(inputs, kernel):
    """What `keras.layers.Dense` does to the last axis."""
    return keras.ops.matmul(inputs, kernel[0, 0])


def matmul(inputs, kernel):
    """A matrix product broadcast over batch and rows."""
    return tf.matmul(inputs, kernel[0, 0])


IMPLEMENTATIONS = {"conv2d": conv2d, "dense": dense, "matmul": matmul}


class Pointwise(SpectralLayer):
    """Linear map over channels, shared by all positions (a 1x1 convolution).

    Every implementation computes the same function from the same weights, so
    a checkpoint written with one is read by any other.

    Args:
        filters: Number of output channels.
        implementation: Key of `IMPLEMENTATIONS`.
        use_bias: Whether to add a bias per filter.
        spectral_norm: Whether the kernel is divided by its spectral norm.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height, width, filters]`, in `compute_dtype`.

    Raises:
        ValueError: If `implementation` is not a known key.

    Source: f, g, h and v of Zhang et al. (2019), arXiv:1805.08318, section 3,
    and the residual shortcuts of the released code.
    """

    def __init__(
        self,
        filters,
        implementation="conv2d",
        use_bias=True,
        spectral_norm=True,
        **kwargs,
    ):
        super().__init__(
            filters, use_bias=use_bias, spectral_norm=spectral_norm, **kwargs
        )
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"Unknown pointwise implementation {implementation!r}: "
                f"expected one of {', '.join(sorted(IMPLEMENTATIONS))}."
            )
        self.implementation = implementation

    def build(self, input_shape):
        self.add_kernel((1, 1, input_shape[-1]))

    def call(self, inputs, training=False):
        kernel = self.effective_kernel(training)
        kernel = tf.cast(kernel, self.compute_dtype)
        apply = IMPLEMENTATIONS[self.implementation]
        return self.add_bias(apply(inputs, kernel))
