"""Reference convolutions and their gradients in float64.

Pure NumPy, one matrix product per tap of the kernel. For speed, only some
channels and filters are computed, at all positions.
"""

import math

import numpy as np

UPSAMPLED, POOLED = "upsampled", "pooled"


def exact_results(
    inputs, kernel, direction, resample, images, channels, filters
):
    """Returns a convolution's outputs and gradients, and sizes of their terms.

    Args:
        inputs: `[batch, height, width, c_in]`, float.
        kernel: `[k, k, c_in, c_out]`, float, `k` odd; padding is with zeros.
        direction: Gradient of the outputs, shaped like them, float.
        resample: None, `UPSAMPLED` (nearest 2x before) or `POOLED` (2x2
            average after).
        images: Indices of the images whose outputs and gradients to compute.
        channels: Indices of the input channels whose gradients to compute.
        filters: Indices of the output channels to compute.

    Returns:
        For each of the outputs `[images, ..., filters]`, the gradient of the
        inputs `[images, ..., channels]` and that of the kernel, a sum over all
        images, `[k, k, channels, filters]`: the values, the roots of the sums
        of squared terms (where terms are averaged, at least that), and the
        number of terms.
    """
    operands = inputs, kernel, direction
    indices = images, channels, filters
    values = _linear(*operands, resample, *indices, power=1)
    squares = _linear(*operands, resample, *indices, power=2)
    copies = 4 if resample == UPSAMPLED else 1
    terms = (
        math.prod(kernel.shape[:3]),
        math.prod(kernel.shape[:2]) * kernel.shape[3] * copies,
        math.prod(inputs.shape[:3]) * copies,
    )
    return list(zip(values, map(np.sqrt, squares), terms, strict=True))


def exact_bias(inputs, bias, direction, images):
    """Returns what `exact_results` does, for a bias added at every position."""
    inputs, bias, some = map(
        np.float64, (inputs[images], bias, direction[images])
    )
    total, squares = (
        np.sum(np.float64(direction) ** power, axis=(0, 1, 2))
        for power in (1, 2)
    )
    return [
        (inputs + bias, np.hypot(inputs, bias), 2),
        (some, np.abs(some), 1),
        (total, np.sqrt(squares), math.prod(direction.shape[:3])),
    ]


def block_diagonal(kernel, c_in):
    """Returns the ordinary kernel equivalent to that of a grouped convolution.

    Args:
        kernel: `[k, k, c_in // groups, c_out]`.
        c_in: Number of input channels.

    Returns:
        `[k, k, c_in, c_out]`, zero between groups.
    """
    width, c_out = kernel.shape[2:]
    if width == c_in:
        return kernel
    group_of_channel = np.arange(c_in) // width
    group_of_filter = np.arange(c_out) * (c_in // width) // c_out
    same = group_of_channel[:, None] == group_of_filter
    return np.tile(kernel, [1, 1, c_in // width, 1]) * same


def _linear(
    inputs, kernel, direction, resample, images, channels, filters, power
):
    """Returns the three results for operands raised to a power."""

    def raised(array):
        # Products of non-contiguous arrays are many times slower.
        return np.ascontiguousarray(array, np.float64) ** power

    def upsampled(inputs):
        return _repeat(inputs) if resample == UPSAMPLED else inputs

    def unpooled(direction):
        return _repeat(direction) / 4 if resample == POOLED else direction

    outputs = _convolve(
        upsampled(raised(inputs[images])), raised(kernel[..., filters])
    )
    if resample == POOLED:
        outputs = _sum_of_four(outputs) / 4
    turned = kernel[::-1, ::-1, channels].swapaxes(2, 3)
    d_inputs = _convolve(unpooled(raised(direction[images])), raised(turned))
    if resample == UPSAMPLED:
        d_inputs = _sum_of_four(d_inputs)
    d_kernel = _correlate(
        upsampled(raised(inputs[..., channels])),
        unpooled(raised(direction[..., filters])),
        len(kernel),
    )
    return outputs, d_inputs, d_kernel


def _convolve(inputs, kernel):
    """Convolves by one product for all taps, then shifts and adds columns."""
    batch, height, width, c_in = inputs.shape
    k, _, _, c_out = kernel.shape
    columns = kernel.transpose(2, 0, 1, 3).reshape(c_in, -1)
    products = inputs.reshape(-1, c_in) @ columns
    products = products.reshape(batch, height, width, k, k, c_out)
    return sum(view[..., i, j, :] for (i, j), view in _shifts(products, k))


def _correlate(inputs, direction, k):
    columns = direction.reshape(-1, direction.shape[-1])
    d_kernel = np.zeros((k, k, inputs.shape[-1], columns.shape[-1]))
    for tap, view in _shifts(inputs, k):
        d_kernel[tap] = view.reshape(len(columns), -1).T @ columns
    return d_kernel


def _shifts(images, k):
    """Yields each tap of a `k` by `k` kernel and its shifted, padded view."""
    height, width = images.shape[1:3]
    pad = [(0, 0)] * images.ndim
    pad[1] = pad[2] = (k // 2, k // 2)
    padded = np.pad(images, pad)
    for i, j in np.ndindex(k, k):
        yield (i, j), padded[:, i : i + height, j : j + width]


def _repeat(inputs):
    return inputs.repeat(2, axis=1).repeat(2, axis=2)


def _sum_of_four(inputs):
    rows = inputs[:, ::2] + inputs[:, 1::2]
    return rows[:, :, ::2] + rows[:, :, 1::2]
