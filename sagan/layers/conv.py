"""3x3 convolution with optional up-sampling or pooling.

Nearest 2x up-sampling before a 3x3 convolution, and 2x2 average pooling after
one, are linear, so each pair is a single stride-2 convolution whose 4x4 kernel
holds sums of the 3x3 kernel's taps: the same function of the same weights with
4 instead of 9 multiplications per pixel of the larger image. `fused=False`
keeps the two separate operations as the reference.
"""

import numpy as np
import tensorflow as tf

from sagan.layers.spectral_norm import SpectralLayer

# Along one axis, with taps k[0], k[1], k[2]: input pixel m of an up-sampling
# convolution reaches output pixels 2m-1 .. 2m+2 with these sums of taps,
_UP_TAPS = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float32)
# and output pixel m of a pooled convolution reads input pixels 2m-1 .. 2m+2.
_DOWN_TAPS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)


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
    """Sums the taps of `[3, 3, c_in, c_out]` into `[4, 4, c_in, c_out]`."""
    c_in, c_out = kernel.shape[2:]
    sums = tf.constant(np.kron(taps, taps), kernel.dtype)  # [16, 9]
    kernel = tf.matmul(sums, tf.reshape(kernel, [9, c_in * c_out]))
    return tf.reshape(kernel, [4, 4, c_in, c_out])


def upsample_conv(inputs, kernel):
    """`conv3x3(upsample(inputs))` as one transposed convolution.

    Args:
        inputs: `[batch, height, width, c_in]`, float.
        kernel: The 3x3 kernel, `[3, 3, c_in, c_out]`, float32.

    Returns:
        `[batch, 2 * height, 2 * width, c_out]`, in the dtype of `inputs`.
    """
    # A transposed convolution takes its kernel as [4, 4, c_out, c_in].
    kernel = _spread(tf.transpose(kernel, [0, 1, 3, 2]), _UP_TAPS)
    shape = tf.shape(inputs)
    return tf.nn.conv2d_transpose(
        inputs,
        tf.cast(kernel, inputs.dtype),
        [shape[0], 2 * shape[1], 2 * shape[2], kernel.shape[2]],
        strides=2,
        padding="SAME",
    )


def conv_downsample(inputs, kernel):
    """`downsample(conv3x3(inputs))` as one stride-2 convolution.

    As two operations if height or width is unknown at tracing.

    Args:
        inputs: `[batch, height, width, c_in]`, float.
        kernel: The 3x3 kernel, `[3, 3, c_in, c_out]`, float32.

    Returns:
        `[batch, height // 2, width // 2, c_out]`, in the dtype of `inputs`.
    """
    size = inputs.shape[1:3]
    if 1 in size or None in size:
        # A single pixel gives an empty output, which kernels get wrong.
        kernel = tf.cast(kernel, inputs.dtype)
        return downsample(tf.nn.conv2d(inputs, kernel, 1, "SAME"))
    kernel = tf.cast(_spread(kernel, _DOWN_TAPS) / 4.0, inputs.dtype)
    # SAME pads one pixel on each side of an even size, as the algebra requires;
    # an odd size would get one pixel less.
    even = all(side % 2 == 0 for side in size)
    padding = "SAME" if even else [[0, 0], [1, 1], [1, 1], [0, 0]]
    return tf.nn.conv2d(inputs, kernel, strides=2, padding=padding)


class Conv3x3(SpectralLayer):
    """3x3 convolution with zero padding and optional resampling.

    Args:
        filters: Number of output channels.
        resample: None, `"up"` (nearest 2x before the convolution) or `"down"`
            (2x2 average pooling after it).
        fused: Whether the resampling is merged into the convolution.
        **kwargs: `use_bias` and `spectral_norm` as for `SpectralLayer`; the
            spectral norm is always that of the 3x3 kernel.

    Input shape: `[batch, height, width, channels]`, float.
    Output shape: `[batch, height', width', filters]`, in `compute_dtype`.

    Raises:
        ValueError: If `resample` is none of these.
    """

    def __init__(self, filters, resample=None, fused=True, **kwargs):
        super().__init__(filters, **kwargs)
        if resample not in (None, "up", "down"):
            raise ValueError(
                f"Unknown resample {resample!r}: expected None, 'up' or 'down'."
            )
        self.resample = resample
        self.fused = fused

    def build(self, input_shape):
        self.add_kernel((3, 3, input_shape[-1]))

    def call(self, inputs, training=False):
        kernel = self.effective_kernel(training)
        if self.fused and self.resample == "up":
            return self.add_bias(upsample_conv(inputs, kernel))
        if self.fused and self.resample == "down":
            return self.add_bias(conv_downsample(inputs, kernel))
        if self.resample == "up":
            inputs = upsample(inputs)
        kernel = tf.cast(kernel, self.compute_dtype)
        outputs = tf.nn.conv2d(inputs, kernel, strides=1, padding="SAME")
        if self.resample == "down":
            outputs = downsample(outputs)
        return self.add_bias(outputs)
