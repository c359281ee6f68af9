"""Spectral normalisation, and the base class of every layer with a kernel.

The method is that of Miyato et al. (2018), arXiv:1802.05957, as the released
SAGAN code applies it to both networks. `keras.layers.SpectralNormalization`
computes something else: it overwrites the kernel in place, lets no gradient
through sigma and does not normalise outside training.
"""

from typing import Literal

import keras
import tensorflow as tf

from sagan.layers.affine import shift

InitializerName = Literal["glorot", "orthogonal"]
INITIALIZERS = {
    "glorot": keras.initializers.GlorotUniform,
    # Of the kernel as a matrix `[-1, filters]`.
    "orthogonal": keras.initializers.Orthogonal,
}


def spectral_normalize(kernel, u, epsilon=1e-12):
    """Divides a kernel by its largest singular value, estimated from `u`.

    One power iteration on the kernel reshaped to `[-1, filters]`. The gradient
    is that of `kernel / sigma`: it flows through sigma, while the singular
    vectors are constants.

    Args:
        kernel: `[..., filters]`, float32.
        u: Estimate of the right singular vector, `[1, filters]`, float32.
        epsilon: Lower bound of sigma, so that a zero kernel stays zero.

    Returns:
        `kernel / sigma`, and the improved `u` for the next call.

    Source: Miyato et al. (2018), algorithm 1; sn.py of the released code
    (which also differentiates through the iteration: a second-order term that
    vanishes once `u` has converged).
    """
    matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])  # [fan_in, filters]
    v = tf.matmul(u, tf.stop_gradient(matrix), transpose_b=True)  # [1, fan_in]
    v = tf.math.l2_normalize(v, epsilon=epsilon**2)
    projected = tf.matmul(v, matrix)  # [1, filters]
    direction = tf.stop_gradient(projected)
    # A zero kernel has no direction, and u = 0 would never recover one.
    u = tf.where(
        tf.norm(direction) > epsilon,
        tf.math.l2_normalize(direction, epsilon=epsilon**2),
        u,
    )
    sigma = tf.reduce_sum(projected * u)
    # One division, and none of a whole kernel in the gradient.
    return kernel * (1.0 / tf.maximum(sigma, epsilon)), u


class SpectralLayer(keras.layers.Layer):
    """A linear layer whose kernel is divided by its spectral norm on every use.

    `kernel` is the raw kernel and `u` a separate variable that changes only in
    training; both are float32 under every dtype policy.

    Args:
        filters: Number of output channels, the last axis of the kernel.
        use_bias: Whether there is a bias per filter.
        spectral_norm: Whether the kernel is normalised.
        initializer: Key of `INITIALIZERS`; "orthogonal" is that of BigGAN.
    """

    def __init__(
        self,
        filters,
        use_bias=True,
        spectral_norm=True,
        initializer="glorot",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.kernel_initializer = INITIALIZERS[initializer]()
        self.u_initializer = keras.initializers.TruncatedNormal(stddev=1.0)
        self.filters = filters
        self.use_bias = use_bias
        self.spectral_norm = spectral_norm

    def add_kernel(self, shape, power_iteration=True):
        """Creates the variables: kernel `[*shape, filters]`, bias and `u`.

        Args:
            shape: Shape of the kernel without its last axis.
            power_iteration: Whether the norm needs a `u`.
        """
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*shape, self.filters),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.filters,),
                initializer="zeros",
                autocast=False,
            )
        if self.spectral_norm and power_iteration:
            self.u = self.add_weight(
                name="u",
                shape=(1, self.filters),
                initializer=self.u_initializer,
                trainable=False,
                autocast=False,
            )

    def add_bias(self, outputs, elementwise=None):
        """Returns `outputs` plus the bias, if there is one.

        Args:
            outputs: `[..., filters]`, float.
            elementwise: None, or the `Elementwise` whose ReLU follows.
        """
        if not self.use_bias:
            return elementwise.relu(outputs) if elementwise else outputs
        bias = tf.convert_to_tensor(self.bias)
        if elementwise:
            return elementwise.affine_relu(outputs, None, bias)
        return shift(outputs, bias)

    def effective_kernel(self, training=False):
        """Returns the kernel as applied, float32, shaped like `kernel`.

        Args:
            training: Whether `u` keeps the result of its power iteration.
        """
        kernel = tf.convert_to_tensor(self.kernel)
        if not self.spectral_norm:
            return kernel
        with tf.name_scope("spectral_norm"):
            kernel, u = spectral_normalize(kernel, tf.convert_to_tensor(self.u))
            if training:
                self.u.assign(u)
        return kernel

    def largest_singular_value(self):
        """Estimates the largest singular value of the raw kernel: float32.

        From `u`, or without spectral norm from ten power iterations.
        """
        matrix = tf.reshape(self.kernel, [-1, self.filters])
        if self.spectral_norm:
            return tf.norm(tf.matmul(matrix, self.u, transpose_b=True))
        u = tf.ones([self.filters, 1])
        for _ in range(10):
            u = tf.matmul(matrix, tf.matmul(matrix, u), transpose_a=True)
            u = tf.math.l2_normalize(u)
        return tf.norm(tf.matmul(matrix, u))


def kernel_layers(network):
    """Returns the layers of a network that have a kernel, in call order."""
    return [
        layer
        for layer in network._flatten_layers()  # Keras has no public walk.
        if isinstance(layer, SpectralLayer)
    ]


def spectral_layers(network):
    """Returns the layers of a network that keep a singular vector `u`."""
    return [layer for layer in kernel_layers(network) if hasattr(layer, "u")]
