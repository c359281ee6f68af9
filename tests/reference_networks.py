"""Both networks written a second time: plain functions in float64."""

import tensorflow as tf

from sagan.layers.attention import attention_blocks


def _exact(variable):
    return tf.cast(tf.convert_to_tensor(variable), tf.float64)


def _conv(layer, inputs):
    outputs = tf.nn.conv2d(inputs, _exact(layer.kernel), 1, "SAME")
    return outputs + _exact(layer.bias) if layer.use_bias else outputs


def _relu(inputs):
    return tf.maximum(inputs, 0.0)


def _up(inputs):
    return tf.repeat(tf.repeat(inputs, 2, axis=1), 2, axis=2)


def _down(inputs):
    return tf.nn.avg_pool2d(inputs, 2, 2, "VALID")


def _batch_norm(layer, inputs, labels):
    mean, variance = tf.nn.moments(inputs, [0, 1, 2])
    gain, bias = _exact(layer.gain), _exact(layer.bias)
    if layer.num_classes:
        gain = tf.gather(gain, labels)[:, None, None]
        bias = tf.gather(bias, labels)[:, None, None]
    return (inputs - mean) / tf.sqrt(variance + 1e-5) * gain + bias


def _attention(block, inputs):
    batch, height, width, channels = inputs.shape

    def flat(features):
        return tf.reshape(features, [batch, -1, features.shape[-1]])

    def pooled(features):
        return flat(tf.nn.max_pool2d(features, 2, 2, "VALID"))

    scores = tf.matmul(
        flat(_conv(block.g, inputs)),
        pooled(_conv(block.f, inputs)),
        transpose_b=True,
    )
    outputs = tf.matmul(tf.nn.softmax(scores), pooled(_conv(block.h, inputs)))
    outputs = tf.reshape(outputs, [batch, height, width, channels // 2])
    return inputs + _exact(block.gamma) * _conv(block.v, outputs)


def generate(network, latents, labels, attended=16):
    """The generator in training, with one attention block.

    Args:
        network: A `Generator` without spectral norm.
        latents: `[batch, latent_dim]`, float64.
        labels: `[batch]`, int32.
        attended: Resolution of the attention.

    Source: `generator_test` in generator.py of the released code.
    """
    features = latents @ _exact(network.dense.kernel)
    features += _exact(network.dense.bias)
    features = tf.reshape(features, [latents.shape[0], 4, 4, -1])
    for block in network.blocks:
        main = _conv(
            block.conv1, _up(_relu(_batch_norm(block.norm1, features, labels)))
        )
        main = _conv(block.conv2, _relu(_batch_norm(block.norm2, main, labels)))
        features = main + _conv(block.shortcut, _up(features))
        if features.shape[1] == attended:
            (attention,) = attention_blocks(network).values()
            features = _attention(attention, features)
    features = _relu(_batch_norm(network.norm, features, labels))
    return tf.tanh(_conv(network.conv, features))


def discriminate(network, images, labels, halvings, attended=16):
    """The discriminator, with one attention block.

    Args:
        network: A `Discriminator` without spectral norm.
        images: `[batch, size, size, channels]`, float64.
        labels: `[batch]`, int32.
        halvings: Number of blocks that halve the resolution.
        attended: Resolution of the attention, at the first block that has it.

    Source: `discriminator_test` in discriminator.py of the released code.
    """
    features, done = images, False
    for i, block in enumerate(network.blocks):
        main = features if i == 0 else _relu(features)
        main = _conv(block.conv2, _relu(_conv(block.conv1, main)))
        if i == 0:
            features = _down(main) + _conv(block.shortcut, _down(features))
        elif i < halvings:
            features = _down(main) + _down(_conv(block.shortcut, features))
        elif features.shape[-1] == main.shape[-1]:
            assert block.shortcut is None
            features = main + features
        else:
            features = main + _conv(block.shortcut, features)
        if features.shape[1] == attended and not done:
            (attention,) = attention_blocks(network).values()
            features, done = _attention(attention, features), True
    assert done
    features = tf.reduce_sum(_relu(features), [1, 2])
    logits = features @ _exact(network.dense.kernel)
    logits += _exact(network.dense.bias)
    if network.num_classes:
        embedded = tf.gather(_exact(network.embedding.kernel), labels)
        logits += tf.reduce_sum(embedded * features, -1, keepdims=True)
    return logits
