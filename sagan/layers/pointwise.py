"""The pointwise layer: a 1x1 convolution with a choice of implementations.

Each function of `IMPLEMENTATIONS` maps `[..., channels]` and a kernel
`[1, 1, channels, filters]`, of one dtype, to `[..., filters]`; any leading size
may be unknown at tracing. They compute the same function of the same weights;
which is fastest depends on shape, dtype and device, and
scripts/benchmark_pointwise.py measures it.

`CONTROLS` are different functions with fewer weights, for comparison.
"""

import math
import string

import keras
import tensorflow as tf

from sagan.layers.device import on_cpu
from sagan.layers.spectral_norm import SpectralLayer, kernel_layers


def conv2d(inputs, kernel):
    """The framework's convolution, the op that `keras.layers.Conv2D` uses."""
    if inputs.shape.rank == 4:
        return tf.nn.conv2d(inputs, kernel, strides=1, padding="VALID")
    images = tf.reshape(inputs, [-1, 1, 1, inputs.shape[-1]])
    outputs = tf.nn.conv2d(images, kernel, strides=1, padding="VALID")
    return _restore(outputs, inputs)


def dense(inputs, kernel):
    """The product that `keras.layers.Dense` applies to the last axis."""
    return keras.ops.matmul(inputs, kernel[0, 0])


def matmul(inputs, kernel):
    """A matrix product broadcast over all leading axes except the last."""
    return tf.matmul(inputs, kernel[0, 0])


def gemm(inputs, kernel):
    """One matrix product over all positions of all images."""
    positions = tf.reshape(inputs, [-1, inputs.shape[-1]])  # [n, channels]
    return _restore(tf.matmul(positions, kernel[0, 0]), inputs)


def einsum(inputs, kernel):
    """A contraction over channels, with a letter for every other axis."""
    leading = string.ascii_uppercase[: inputs.shape.rank - 1]
    return tf.einsum(f"{leading}c,cf->{leading}f", inputs, kernel[0, 0])


def einsum_ellipsis(inputs, kernel):
    """The same contraction, with an ellipsis for the other axes.

    It is slow in training: the gradient computes a `[channels, filters]`
    product for every position before summing them.
    """
    return tf.einsum("...c,cf->...f", inputs, kernel[0, 0])


def tensordot(inputs, kernel):
    """A tensor contraction over the last axis."""
    return tf.tensordot(inputs, kernel[0, 0], [[-1], [0]])


def batched_einsum(inputs, kernel):
    """A contraction per image, with its positions flattened."""
    rows = tf.reshape(
        inputs, [tf.shape(inputs)[0], -1, inputs.shape[-1]]
    )  # [batch, positions, channels]
    outputs = tf.einsum("bpc,cf->bpf", rows, kernel[0, 0])
    return _restore(outputs, inputs)


def grouped(inputs, kernel):
    """A control in which each filter sees only the channels of its group.

    Args:
        inputs: `[..., channels]`, float.
        kernel: `[1, 1, channels // groups, filters]`, the layout of
            TensorFlow's grouped convolution, which has no gradient on a CPU.
    """
    channels, (width, filters) = inputs.shape[-1], kernel.shape[2:]
    groups = channels // width
    leading = tf.shape(inputs)[:-1]
    inputs_by_group = tf.reshape(
        inputs, tf.concat([leading, [groups, width]], 0)
    )
    kernel = tf.reshape(kernel, [width, groups, filters // groups])
    outputs = tf.einsum("...gc,cgf->...gf", inputs_by_group, kernel)
    return _restore(outputs, inputs, filters)


IMPLEMENTATIONS = {
    "conv2d": conv2d,
    "dense": dense,
    "matmul": matmul,
    "gemm": gemm,
    "einsum": einsum,
    "einsum_ellipsis": einsum_ellipsis,
    "tensordot": tensordot,
    "batched_einsum": batched_einsum,
}
AUTO = "auto"
# Largest number of groups. With as many filters as channels, "depthwise" is one
# scalar per channel.
CONTROLS = {"grouped": 4, "depthwise": math.inf}


def choose_implementation() -> str:
    """Returns what `"auto"` stands for on this machine.

    On a CPU `gemm`, which docs/benchmarks shows among the fastest at nearly
    every shape of a network, and right on every processor tried. Elsewhere,
    where nothing has been measured, the framework's own convolution.
    """
    return "gemm" if on_cpu() else "conv2d"


class Pointwise(SpectralLayer):
    """Linear map over channels, shared by all positions (a 1x1 convolution).

    Every implementation computes the same function of the same weights, so a
    checkpoint written with one is read by any other. The kernels of `CONTROLS`
    have other shapes.

    Args:
        filters: Number of output channels.
        implementation: Key of `IMPLEMENTATIONS` or of `CONTROLS`, or "auto",
            see `choose_implementation`. The attribute has the choice.
        activation: None, or an argument of `keras.activations.get`.
        use_bias: Whether to add a bias per filter.
        spectral_norm: Whether the kernel is divided by its spectral norm; for
            a control, by that of its kernel reshaped to `[-1, filters]`, which
            bounds that of the map.

    Input shape: `[..., channels]`, float.
    Output shape: `[..., filters]`, in `compute_dtype`.

    Raises:
        ValueError: If `implementation` is not a known key.

    Source: f, g, h and v of Zhang et al. (2019), arXiv:1805.08318, section 3,
    and the residual shortcuts of the released code.
    """

    def __init__(
        self,
        filters,
        implementation="conv2d",
        activation=None,
        use_bias=True,
        spectral_norm=True,
        **kwargs,
    ):
        super().__init__(
            filters, use_bias=use_bias, spectral_norm=spectral_norm, **kwargs
        )
        if implementation == AUTO:
            implementation = choose_implementation()
        if implementation not in (*IMPLEMENTATIONS, *CONTROLS):
            raise ValueError(
                f"Unknown pointwise implementation {implementation!r}: "
                f"expected {AUTO}, {', '.join(sorted(IMPLEMENTATIONS))}; or "
                f"{' or '.join(sorted(CONTROLS))}, which are other functions."
            )
        self.implementation = implementation
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        channels = input_shape[-1]
        most = CONTROLS.get(self.implementation, 1)
        groups = math.gcd(channels, self.filters)
        if most < groups:
            groups = math.gcd(groups, most)
        self.add_kernel((1, 1, channels // groups))

    def apply(self, inputs, kernel):
        """Multiplies by a kernel, cast to the dtype of the inputs."""
        multiply = IMPLEMENTATIONS.get(self.implementation, grouped)
        return multiply(inputs, tf.cast(kernel, inputs.dtype))

    def call(self, inputs, training=False, add_bias=True):
        outputs = self.apply(inputs, self.effective_kernel(training))
        outputs = self.add_bias(outputs) if add_bias else outputs
        return self.activation(outputs)


def implementations_of(network) -> set[str]:
    """Returns the implementations of a network's pointwise layers."""
    layers = kernel_layers(network)
    return {o.implementation for o in layers if isinstance(o, Pointwise)}


def _restore(outputs, inputs, filters=None):
    """Restores the leading axes of the inputs in flattened outputs."""
    filters = filters or outputs.shape[-1]
    return tf.reshape(outputs, tf.concat([tf.shape(inputs)[:-1], [filters]], 0))
