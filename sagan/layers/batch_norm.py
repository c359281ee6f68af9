"""Batch normalisation, unconditional or conditional on the class."""

import keras
import tensorflow as tf

from sagan.distributed.replicas import mean_over_replicas, num_replicas
from sagan.layers.affine import cancelled, scale, shift


class BatchNorm(keras.layers.Layer):
    """Batch normalisation over batch, height and width.

    With `num_classes` it is conditional: gain and bias are looked up by label
    in tables with one row per class. With an `embedding` these are normalised,
    and the gain is 1 plus its table.

    Moments are float32 under every dtype policy. The decay of the moving
    averages is `(1 + n) / (10 + n)` at update `n` while that is less than
    `decay`, so that a network sampled after a few hundred steps is not
    normalised by the initial values (the released code uses `decay` from the
    start).

    Args:
        num_classes: Number of rows of the tables, or 0 for one gain and bias.
        decay: Decay of the moving mean and variance, in `[0, 1)`.
        epsilon: Added to the variance.
        fused: Whether to use the framework's fused kernel instead of the
            written-out definition.
        synchronized: Whether the moments are those of the global batch. If
            not, each replica normalises by the moments of its own part, and
            has its own moving moments until they are averaged over replicas.
        embedding: Recipe for the tables, `ClassEmbedding`; None for tables
            that are not normalised, as in the released code.

    Input shape: `[batch, height, width, channels]`, float, and with
        `num_classes` labels `[batch]`, integer, or class weights `[batch,
        num_classes]`, float, which mix the rows of the tables.
    Output shape: as the input, in `compute_dtype`.

    Source: ops.py of the released code (epsilon 1e-5, decay 0.999); de Vries
    et al. (2017), arXiv:1707.00683 for the conditional form;
    `ConditionalBatchNorm2d` of PyTorch-StudioGAN for that with an embedding.
    """

    def __init__(
        self,
        num_classes=0,
        decay=0.999,
        epsilon=1e-5,
        fused=True,
        synchronized=False,
        embedding=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.decay = decay
        self.epsilon = epsilon
        self.fused = fused
        self.synchronized = synchronized
        self.embedding = embedding if num_classes else None

    def build(self, inputs_shape, labels_shape=None):
        del labels_shape
        channels = (inputs_shape[-1],)
        if self.embedding:
            # Tables of zeros would have no norm to be divided by.
            for name in ("gain", "bias"):
                table = self.embedding(self.num_classes, *channels, name=name)
                table.build(None)
                setattr(self, name, table)
        else:
            self._add_tables(channels)
        for name, initializer, shape in (
            ("moving_mean", "zeros", channels),
            ("moving_variance", "ones", channels),
            ("updates", "zeros", ()),
        ):
            variable = self.add_weight(
                name=name,
                shape=shape,
                initializer=initializer,
                trainable=False,
                autocast=False,
            )
            setattr(self, name, variable)

    def _add_tables(self, channels):
        table = (self.num_classes, *channels) if self.num_classes else channels
        self.gain = self.add_weight(
            name="gain", shape=table, initializer="ones", autocast=False
        )
        self.bias = self.add_weight(
            name="bias", shape=table, initializer="zeros", autocast=False
        )

    def tables(self, training=False):
        """Returns gain and bias as applied, with a row per class, float32.

        Args:
            training: Whether each `u` keeps its power iteration.
        """
        if not self.embedding:
            return self.gain, self.bias
        gain, bias = (
            table.effective_kernel(training) for table in (self.gain, self.bias)
        )
        return 1.0 + gain, bias

    def call(
        self,
        inputs,
        labels=None,
        training=False,
        omit_bias_of=None,
        elementwise=None,
    ):
        """Normalises `inputs`.

        Args:
            inputs: As above.
            labels: As above.
            training: Whether the moments are those of the batch.
            omit_bias_of: In training, the layer before if it did not add its
                bias, which cancels, except in the moving mean. A layer, as
                Keras would round a tensor to the compute dtype.
            elementwise: None, or the `Elementwise` whose ReLU follows.
        """
        omitted = None
        if omit_bias_of is not None:
            omitted = tf.convert_to_tensor(omit_bias_of.bias)
            inputs = cancelled(inputs, omitted)
        # The fused kernel knows only the moments of this replica.
        together = training and self.synchronized and num_replicas() > 1
        fused = self.fused and not together
        normalize = self._normalize_fused if fused else self._normalize
        if not self.num_classes:
            outputs = normalize(inputs, self.gain, self.bias, training, omitted)
            return elementwise.relu(outputs) if elementwise else outputs
        channels = inputs.shape[-1]
        outputs = normalize(
            inputs,
            tf.ones([channels]),
            tf.zeros([channels]),
            training,
            omitted,
        )
        gain, bias = (
            _rows(table, labels)[:, None, None, :]
            for table in self.tables(training)
        )  # [batch, 1, 1, channels], float32
        if elementwise:
            return elementwise.affine_relu(outputs, gain, bias)
        return shift(scale(outputs, gain), bias)

    def _normalize(self, inputs, gain, bias, training, omitted):
        """Standardises `inputs`, then scales and shifts each channel."""
        values = tf.cast(inputs, tf.float32)
        if training:
            mean, variance = tf.nn.moments(values, axes=[0, 1, 2])
            if self.synchronized:
                mean, variance = self._over_replicas(mean, variance)
            self._update(mean, variance, omitted)
        else:
            mean, variance = self.moving_mean, self.moving_variance
        outputs = (values - mean) * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast(outputs * gain + bias, inputs.dtype)

    def _over_replicas(self, mean, variance):
        """Returns the moments of the global batch."""
        # Relative to the moving mean: the difference of squares would cancel
        # where means are large.
        centre = tf.stop_gradient(tf.convert_to_tensor(self.moving_mean))
        offset = mean - centre
        offset, variance, square = mean_over_replicas(
            [offset, variance, tf.square(offset)]
        )
        return centre + offset, variance + square - tf.square(offset)

    def _normalize_fused(self, inputs, gain, bias, training, omitted):
        """Does what `_normalize` does, in one operation."""
        moments = (
            ([], []) if training else (self.moving_mean, self.moving_variance)
        )
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(gain),
            offset=tf.convert_to_tensor(bias),
            mean=tf.convert_to_tensor(moments[0], tf.float32),
            variance=tf.convert_to_tensor(moments[1], tf.float32),
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The kernel returns the variance divided by count - 1.
            count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
            variance = variance * (count - 1.0) / count
            self._update(mean, variance, omitted)
        return outputs

    def _update(self, mean, variance, omitted):
        if omitted is not None:
            mean += omitted
        # A float16 batch may overflow; loss scaling skips its update.
        finite = tf.reduce_all(tf.math.is_finite(mean + variance))
        n = self.updates.assign_add(1.0) - 1.0
        decay = tf.minimum(self.decay, (1.0 + n) / (10.0 + n))
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            value = tf.where(finite, tf.stop_gradient(value), moving)
            moving.assign_sub((1.0 - decay) * (moving - value))


def _rows(table, labels):
    """Returns the row of each label, or the mixture by class weights."""
    if len(labels.shape) == 1:
        return tf.gather(table, labels)
    return tf.matmul(tf.cast(labels, tf.float32), table)


def batch_norms(network) -> list[BatchNorm]:
    """Returns the batch norms of a network."""
    return [
        layer
        for layer in network._flatten_layers()  # Keras has no public walk.
        if isinstance(layer, BatchNorm)
    ]
