"""Convolutions whose kernel gradient is a few matrix products.

oneDNN's own is slow on a CPU where a kernel is large beside its maps: with AMX,
from 1024 to 1024 channels at 8x8, the products are 28 to 35 times as fast on
one core (docs/performance.md).
"""

import math

import tensorflow as tf

from sagan.layers.device import on_cpu

# Up to so many positions for each channel the products have been faster, or
# less than 15 % slower; float16, which CPUs are slow in anyway, is taken for
# bfloat16 (docs/performance.md).
_POSITIONS_PER_CHANNEL = {"float32": 4, "bfloat16": 16, "float16": 16}


def pays(dtype: str, positions: int, kernel_shape) -> bool:
    """Returns whether products compute a kernel gradient faster.

    Args:
        dtype: Name of the dtype of inputs and kernel.
        positions: Positions that the gradient sums over, in the whole batch:
            those of the smaller map.
        kernel_shape: `[size, size, channels, filters]`.
    """
    per_channel = positions / min(kernel_shape[2:])
    return on_cpu() and per_channel <= _POSITIONS_PER_CHANNEL.get(dtype, 0)


def conv2d(inputs, kernel, stride=1, products=None):
    """Convolution with `SAME` padding.

    Args:
        inputs: `[batch, height, width, channels]`, float; with a stride of 2
            height and width are even.
        kernel: `[size, size, channels, filters]`, in the dtype of `inputs`; its
            size is odd with a stride of 1 and even with 2.
        stride: 1 or 2.
        products: Whether the gradient of the kernel is computed as products;
            None for where that pays. Never where a size is unknown.

    Returns:
        `[batch, height // stride, width // stride, filters]`.
    """
    if not _use_products(products, inputs.shape, kernel, stride):
        return tf.nn.conv2d(inputs, kernel, stride, "SAME")

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def backward(gradient):
            size = kernel.shape[0]
            with _scope(size):
                if stride == 2:
                    d_inputs = conv2d_transpose(gradient, kernel, products=True)
                else:
                    d_inputs = tf.nn.conv2d_transpose(
                        gradient, kernel, inputs.shape, 1, "SAME"
                    )
                return d_inputs, _products(inputs, gradient, size, stride)

        return tf.nn.conv2d(inputs, kernel, stride, "SAME"), backward

    return convolve(inputs, kernel)


def conv2d_transpose(inputs, kernel, products=None):
    """The transpose of `conv2d` with a stride of 2.

    Args:
        inputs: `[batch, height, width, channels]`, float.
        kernel: `[size, size, filters, channels]`, in the dtype of `inputs`, of
            even size.
        products: As for `conv2d`.

    Returns:
        `[batch, 2 * height, 2 * width, filters]`.
    """
    batch, height, width, _ = tf.unstack(tf.shape(inputs))
    if inputs.shape.is_fully_defined():
        batch, height, width, _ = inputs.shape
    shape = [batch, 2 * height, 2 * width, kernel.shape[2]]
    if not _use_products(products, inputs.shape, kernel, 1):
        return tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "SAME")

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def backward(gradient):
            size = kernel.shape[0]
            with _scope(size):
                d_inputs = conv2d(gradient, kernel, 2, products=True)
                return d_inputs, _products(gradient, inputs, size, 2)

        outputs = tf.nn.conv2d_transpose(inputs, kernel, shape, 2, "SAME")
        return outputs, backward

    return convolve(inputs, kernel)


def _use_products(products, shape, kernel, stride):
    if not shape.is_fully_defined():
        return False
    if products is None:
        positions = math.prod(shape[:3]) // stride**2
        return pays(kernel.dtype.name, positions, kernel.shape)
    return products


def _scope(size):
    """Counts the backward pass of a kernel with its forward pass."""
    return tf.name_scope("conv3x3" if size < 5 else "conv5x5")


def _products(inputs, gradient, size, stride):
    """Returns the gradient of a kernel: `[size, size, channels, filters]`.

    A tap multiplies what it reads, one position in `stride` along both axes,
    with the gradient at all positions. With a stride of 2, pairs of columns are
    taken for channels, and two taps are one product.

    Args:
        inputs: What the kernel reads, `[batch, height, width, channels]`.
        gradient: `[batch, height // stride, width // stride, filters]`.
        size: Height and width of the kernel.
        stride: 1 or 2.
    """
    batch, height, width, channels = inputs.shape
    rows, columns = height // stride, width // stride
    filters = gradient.shape[-1]
    pad = (size - 1) // 2
    height, width = height + 2 * pad, width + 2 * pad
    inputs = tf.reshape(
        tf.pad(inputs, [[0, 0], [pad, pad], [pad, pad], [0, 0]]),
        [batch, height // stride, stride, width // stride, stride * channels],
    )
    gradient = tf.reshape(gradient, [-1, filters])
    products = []
    for i in range(size):
        top = i // stride
        for left in range(size // stride):
            read = inputs[
                :, top : top + rows, i % stride, left : left + columns
            ]
            read = tf.reshape(read, [-1, stride * channels])
            products.append(tf.matmul(read, gradient, transpose_a=True))
    return tf.reshape(tf.stack(products), [size, size, channels, filters])
