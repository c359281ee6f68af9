"""3x3 and 5x5 convolutions with optional up-sampling or pooling.

Nearest 2x up-sampling before a convolution, and 2x2 average pooling after one,
are linear, so each pair is a single stride-2 convolution. Its kernel, 4x4 for
3x3 and 6x6 for 5x5, holds sums of the plain kernel's taps: the same function of
the same weights with 4 instead of 9, or 9 instead of 25, multiplications per
pixel of the larger image. `fused=False` keeps the two separate operations as
the reference.
"""

import numpy as np
import tensorflow as tf

from sagan.layers.kernel_gradient import conv2d, conv2d_transpose
from sagan.layers.spectral_norm import SpectralLayer


def _down_taps(size):
    """Sums of taps along one axis, `[size + 1, size]`.

    Output pixel m of a pooled convolution reads the input pixels from
    `2m - size // 2` on, each with one tap or the sum of two neighbours.
    """
    return np.eye(size + 1, size) + np.eye(size + 1, size, k=-1)


def _up_taps(size):
    """Likewise: input pixel m of an up-sampling convolution reaches the output
    pixels from `2m - size // 2` on.
    """
    return _down_taps(size)[:, ::-1]


@tf.custom_gradient
def upsample(inputs):
    """Nearest-neighbour 2x up-sampling: `[b, h, w, c]` to `[b, 2h, 2w, c]`.

    The gradient is a pooling, because the framework's own is slower on a CPU
    and has no deterministic form on a GPU.
    """
    with tf.name_scope("upsample"):
        size = 2 * tf.shape(inputs)[1:3]
        outputs = tf.raw_ops.ResizeNearestNeighbor(images=inputs, size=size)

    def backward(gradient):
        with tf.name_scope("upsample"):
            return 4.0 * downsample(gradient)

    return outputs, backward


def downsample(inputs):
    """2x2 average pooling: `[b, h, w, c]` to `[b, h//2, w//2, c]`."""
    with tf.name_scope("downsample"):
        return tf.nn.avg_pool2d(inputs, ksize=2, strides=2, padding="VALID")


def _spread(kernel, taps):
    """Sums the taps of a kernel into one that is larger by one pixel."""
    size, c_in, c_out = kernel.shape[1:]
    sums = tf.constant(np.kron(taps, taps), kernel.dtype)  # [16, 9] for 3x3
    kernel = tf.matmul(sums, tf.reshape(kernel, [size**2, c_in * c_out]))
    return tf.reshape(kernel, [size + 1, size + 1, c_in, c_out])


def upsample_conv(inputs, kernel, products=None):
    """`conv(upsample(inputs))` as one transposed convolution.

    Args:
        inputs: `[batch, height, width, c_in]`, float.
        kernel: The plain kernel, `[size, size, c_in, c_out]`, float32, with
            `size` odd.

    Returns:
        `[batch, 2 * height, 2 * width, c_out]`, in the dtype of `inputs`.
    """
    # A transposed convolution takes its kernel as [4, 4, c_out, c_in].
    kernel = tf.transpose(kernel, [0, 1, 3, 2])
    kernel = _spread(kernel, _up_taps(kernel.shape[0]))
    return conv2d_transpose(inputs, tf.cast(kernel, inputs.dtype), products)


def conv_downsample(inputs, kernel, products=None):
    """`downsample(conv(inputs))` as one stride-2 convolution.

    As two operations if height or width is unknown at tracing.

    Args:
        inputs: `[batch, height, width, c_in]`, float.
        kernel: The plain kernel, `[size, size, c_in, c_out]`, float32, with
            `size` odd.

    Returns:
        `[batch, height // 2, width // 2, c_out]`, in the dtype of `inputs`.
    """
    size = inputs.shape[1:3]
    if 1 in size or None in size:
        # A single pixel gives an empty output, which kernels get wrong.
        kernel = tf.cast(kernel, inputs.dtype)
        return downsample(tf.nn.conv2d(inputs, kernel, 1, "SAME"))
    pad = [kernel.shape[0] // 2] * 2
    kernel = _spread(kernel, _down_taps(kernel.shape[0])) / 4.0
    kernel = tf.cast(kernel, inputs.dtype)
    if all(side % 2 == 0 for side in size):
        return conv2d(inputs, kernel, 2, products)
    # SAME would pad an odd size by one pixel less than the algebra requires.
    padding = [[0, 0], pad, pad, [0, 0]]
    return tf.nn.conv2d(inputs, kernel, strides=2, padding=padding)


class Conv3x3(SpectralLayer):
    """3x3 convolution with zero padding and optional resampling.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` (nearest 2x before the convolution) or `"down"`
            (2x2 average pooling after it).
        fused: Whether the resampling is merged into the convolution.
        product_gradient: Whether the kernel's gradient is computed as matrix
            products where that pays.
        **kwargs: `use_bias` and `spectral_norm` as for `SpectralLayer`; the
            spectral norm is always that of the plain kernel.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.

    Raises:
        ValueError: If `resample` is none of these.
    """

    size = 3

    def __init__(
        self,
        filters,
        resample=None,
        fused=True,
        product_gradient=True,
        **kwargs,
    ):
        super().__init__(filters, **kwargs)
        if resample not in (None, "up", "down"):
            raise ValueError(
                f"Unknown resample {resample!r}: expected None, 'up' or 'down'."
            )
        self.resample = resample
        self.fused = fused
        self.product_gradient = product_gradient

    def build(self, input_shape):
        self.add_kernel((self.size, self.size, input_shape[-1]))

    def call(self, inputs, training=False, add_bias=True, elementwise=None):
        """Convolves `inputs`.

        Args:
            inputs: As above.
            training: Whether `u` keeps its power iteration.
            add_bias: Whether the bias is added.
            elementwise: None, or the `Elementwise` whose ReLU follows the
                bias.
        """
        outputs = self._convolve(inputs, self.effective_kernel(training))
        if not add_bias:
            return outputs
        return self.add_bias(outputs, elementwise)

    def _convolve(self, inputs, kernel):
        products = None if self.product_gradient else False
        if self.fused and self.resample == "up":
            return upsample_conv(inputs, kernel, products)
        if self.fused and self.resample == "down":
            return conv_downsample(inputs, kernel, products)
        if self.resample == "up":
            inputs = upsample(inputs)
        kernel = tf.cast(kernel, self.compute_dtype)
        outputs = conv2d(inputs, kernel, products=products)
        return downsample(outputs) if self.resample == "down" else outputs


class Conv5x5(Conv3x3):
    """The same with a 5x5 kernel."""

    size = 5
