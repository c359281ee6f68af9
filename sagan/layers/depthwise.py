"""Depthwise 3x3 convolution: one filter per channel, channels not mixed."""

import keras
import numpy as np
import tensorflow as tf

from sagan.layers.conv import upsample
from sagan.layers.spectral_norm import SpectralLayer

# Frequencies along an axis at which the gain of a filter is computed.
_FREQUENCIES = 32


def _waves():
    """Returns a tap's cosine and sine at each frequency, `[544, 9]`, float32.

    A real filter has equal gains at a frequency and its negative, so half of
    the plane is enough.
    """
    angles = 2 * np.pi * np.arange(_FREQUENCIES) / _FREQUENCIES
    half = angles[: _FREQUENCIES // 2 + 1]
    phases = np.multiply.outer(half, np.arange(3))[:, None, :, None]
    phases = phases + np.multiply.outer(angles, np.arange(3))[:, None, :]
    phases = phases.reshape(-1, 9).astype(np.float32)
    return np.cos(phases), np.sin(phases)


def depthwise_norm(kernel):
    """Operator norm of a depthwise convolution, without power iteration.

    The map is block diagonal, so its norm is the largest of its channels'. A
    channel's is the largest gain of its filter at any frequency, here on a grid
    of 32x32: exact on images of 32x32 pixels with periodic borders. On
    zero-padded images it is an upper bound up to 30 pixels, and for any size
    no more than `1 / cos(pi / 32) ** 2 - 1` = 1 % too small.

    The singular value of the kernel reshaped to `[-1, filters]`, which
    normalises other kernels, says nothing here: it adds up channels that the
    map keeps apart.

    Args:
        kernel: `[3, 3, 1, channels]`, float32.

    Returns:
        Scalar, float32, at least 1e-12.

    Source: Sedghi et al. (2019), arXiv:1805.10408, for one channel; the bound
    is that of a trigonometric polynomial of degree 1 by its values on a grid.
    """
    taps = tf.reshape(kernel, [9, kernel.shape[-1]])
    cosine, sine = (tf.matmul(wave, taps) for wave in _waves())
    gains = tf.square(cosine) + tf.square(sine)  # [frequencies, channels]
    # Bounded before the root, whose gradient at zero is infinite.
    return tf.sqrt(tf.maximum(tf.reduce_max(gains), 1e-24))


class DepthwiseConv3x3(SpectralLayer):
    """Depthwise 3x3 convolution with zero padding and optional up-sampling.

    Computed in float32 under every dtype policy: TensorFlow accumulates both
    the outputs and the gradient of the kernel in the dtype of the inputs.

    Up-sampling is not merged into it as into `Conv3x3`: the algebra is the
    same, but with gradients TensorFlow's transposed depthwise convolution took
    1.0, 1.6 and 2.4 times as long as the two operations on a CPU, at 8, 16 and
    32 pixels.

    Args:
        resample: None or `"up"` (nearest 2x before the convolution).
        **kwargs: `use_bias` and `spectral_norm` as for `SpectralLayer`; the
            norm is `depthwise_norm`, which needs no `u`.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height', width', channels]`, in `compute_dtype`.

    Raises:
        ValueError: If `resample` is none of these.

    Source: Howard et al. (2017), arXiv:1704.04861 (MobileNet).
    """

    def __init__(self, resample=None, **kwargs):
        super().__init__(filters=None, **kwargs)
        if resample not in (None, "up"):
            raise ValueError(
                f"Unknown resample {resample!r}: expected None or 'up'."
            )
        # The bound of Glorot and Bengio for 9 inputs and 9 outputs. Keras
        # would count those of all channels.
        bound = float(np.sqrt(6 / (9 + 9)))
        self.kernel_initializer = keras.initializers.RandomUniform(
            -bound, bound
        )
        self.resample = resample

    def build(self, input_shape):
        self.filters = input_shape[-1]
        self.add_kernel((3, 3, 1), power_iteration=False)

    def effective_kernel(self, training=False):
        del training
        kernel = tf.convert_to_tensor(self.kernel)
        if not self.spectral_norm:
            return kernel
        with tf.name_scope("spectral_norm"):
            return kernel / depthwise_norm(kernel)

    def largest_singular_value(self):
        return depthwise_norm(tf.convert_to_tensor(self.kernel))

    def call(self, inputs, training=False, add_bias=True):
        if self.resample == "up":
            inputs = upsample(inputs)
        outputs = depthwise_conv(inputs, self.effective_kernel(training))
        return self.add_bias(outputs) if add_bias else outputs


def depthwise_conv(inputs, kernel):
    """Convolves each channel with a filter of its own.

    Args:
        inputs: `[batch, height, width, channels]`, float.
        kernel: `[3, 3, 1, channels]`, float32.

    Returns:
        As `inputs`, in their dtype.
    """
    kernel = tf.transpose(kernel, [0, 1, 3, 2])  # [3, 3, channels, 1]
    outputs = tf.nn.depthwise_conv2d(
        tf.cast(inputs, tf.float32), kernel, [1, 1, 1, 1], "SAME"
    )
    return tf.cast(outputs, inputs.dtype)
