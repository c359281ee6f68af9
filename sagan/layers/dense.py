"""Dense layer and class embedding, with spectral normalisation."""

import tensorflow as tf

from sagan.layers.spectral_norm import SpectralLayer


class Dense(SpectralLayer):
    """Fully connected layer with a spectrally normalised kernel.

    Args:
        filters: Number of output channels.
        use_bias: Whether there is a bias per filter.
        spectral_norm: Whether the kernel is divided by its spectral norm.

    Input shape: `[batch, channels]`, float.
    Output shape: `[batch, filters]`, in `compute_dtype`.
    """

    def build(self, input_shape):
        self.add_kernel((input_shape[-1],))

    def call(self, inputs, training=False):
        kernel = self.effective_kernel(training)
        kernel = tf.cast(kernel, self.compute_dtype)
        return self.add_bias(tf.matmul(inputs, kernel))


class ClassEmbedding(SpectralLayer):
    """One vector per class, in a table that is normalised as one matrix.

    Args:
        num_classes: Number of classes, the rows of the table.
        filters: Length of a vector.
        spectral_norm: Whether the table is divided by its spectral norm.

    Input shape: `[batch]`, integer labels in `[0, num_classes)`.
    Output shape: `[batch, filters]`, in `compute_dtype`.

    Source: the projection discriminator of Miyato and Koyama (2018),
    arXiv:1802.05637; normalised and without bias in the released SAGAN code.
    """

    def __init__(self, num_classes, filters, spectral_norm=True, **kwargs):
        super().__init__(
            filters, use_bias=False, spectral_norm=spectral_norm, **kwargs
        )
        self.num_classes = num_classes

    def build(self, input_shape):
        del input_shape
        self.add_kernel((self.num_classes,))

    def call(self, labels, training=False):
        vectors = tf.gather(self.effective_kernel(training), labels)
        return tf.cast(vectors, self.compute_dtype)
