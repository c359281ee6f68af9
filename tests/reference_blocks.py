"""The kinds of blocks written a second time: plain functions in float64.

Resampling is done where the kinds define it, at the start of the generator's
path and at the end of the discriminator's.
"""

import tensorflow as tf


def exact(variable):
    return tf.cast(tf.convert_to_tensor(variable), tf.float64)


def conv(layer, inputs):
    """Any convolution without spectral norm."""
    kernel = exact(layer.kernel)
    if type(layer).__name__ == "DepthwiseConv3x3":
        kernel = tf.linalg.diag(kernel[:, :, 0])  # [3, 3, channels, channels]
    return tf.nn.conv2d(inputs, kernel, 1, "SAME") + exact(layer.bias)


def up(inputs):
    return tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2)


def down(inputs):
    sums = inputs[:, ::2] + inputs[:, 1::2]
    return (sums[:, :, ::2] + sums[:, :, 1::2]) / 4.0


def activate(norm, inputs, labels):
    """ReLU, after batch norm by the moments of the inputs if there is one."""
    if norm is not None:
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
        gain, bias = (
            tf.gather(exact(table), labels)[:, None, None]
            for table in (norm.gain, norm.bias)
        )
        inputs = (inputs - mean) / tf.sqrt(variance + 1e-5) * gain + bias
    return tf.maximum(inputs, 0.0)


def chain(path, inputs, labels, first):
    norms = iter(path.norms)
    for i, stage in enumerate(path.stages):
        if i or not first:
            inputs = activate(next(norms, None), inputs, labels)
        inputs = conv(getattr(stage, "pointwise", stage), inputs)
    return inputs


def inception(path, inputs, labels, first):
    if not first:
        inputs = activate(path.norm, inputs, labels)
    pooled = tf.nn.max_pool2d(inputs, 3, 1, "SAME")
    return tf.concat(
        [
            conv(path.one.pointwise, inputs),
            chain(path.three, inputs, labels, first=True),
            chain(path.five, inputs, labels, first=True),
            conv(path.pool.projection.pointwise, pooled),
        ],
        -1,
    )


def residual(block, inputs, labels, first):
    for i, layer in enumerate((block.conv1, block.conv2)):
        if i or not first:
            norm = getattr(block, f"norm{i + 1}", None)
            inputs = activate(norm, inputs, labels)
        inputs = conv(layer, inputs)
    return inputs


def recalibrate(layer, inputs):
    means = tf.reduce_mean(inputs, [1, 2], keepdims=True)
    hidden = tf.maximum(conv(layer.reduce, means), 0.0)
    return inputs * tf.sigmoid(conv(layer.expand, hidden))


def block(layer, inputs, labels=None, resample=None, first=False):
    """A whole block: main path, recalibration and shortcut.

    Args:
        layer: A `GeneratorBlock` or `DiscriminatorBlock` without spectral norm.
        inputs: `[batch, height, width, channels]`, float64.
        labels: `[batch]`, int32, with batch norm.
        resample: None, "up" or "down".
        first: Whether the path has no leading ReLU.
    """
    if resample == "up":
        inputs = up(inputs)
    if layer.main_path is None:
        outputs = residual(layer, inputs, labels, first)
    elif hasattr(layer.main_path, "five"):
        outputs = inception(layer.main_path, inputs, labels, first)
    else:
        outputs = chain(layer.main_path, inputs, labels, first)
    if layer.recalibration:
        pooled = down(outputs) if resample == "down" else outputs
        outputs = recalibrate(layer.recalibration, pooled)
    elif resample == "down":
        outputs = down(outputs)
    shortcut = conv(layer.shortcut, inputs) if layer.shortcut else inputs
    return outputs + (down(shortcut) if resample == "down" else shortcut)
