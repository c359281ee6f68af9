"""The networks against the parameter table and the written architecture."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_weights import draw_inputs, randomize

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.attention import attention_blocks
from sagan.layers.precision import PRECISIONS

BUILDERS = {"generator": build_generator, "discriminator": build_discriminator}
ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}

# Trainable parameters of generator and discriminator. The first is the table
# of the released code; those of 64 pixels, of attention at 64 and of CIFAR-10
# are the counts PyTorch-StudioGAN logs for its SAGAN.
PARAMETERS = {
    "128": ({"num_classes": 1000}, 42_078_852, 39_463_618),
    "128, attention at 64": (
        {"num_classes": 1000, "attention_resolutions": (64,)},
        42_017_412,
        39_448_258,
    ),
    "128, no attention": (
        {"num_classes": 1000, "attention_resolutions": ()},
        41_996_931,
        39_443_137,
    ),
    "128, paper's attention": (
        {"num_classes": 1000, "attention": "paper"},
        42_029_700,
        39_451_330,
    ),
    "128, no classes": ({}, 32_232_708, 38_439_618),
    "64, no classes": ({"image_size": 64}, 12_241_156, 19_547_842),
    "32": (
        {
            "image_size": 32,
            "num_classes": 10,
            "attention_resolutions": (16,),
        },
        4_386_308,
        1_075_586,
    ),
    "32, no classes": (
        {"image_size": 32, "attention_resolutions": (16,)},
        4_358_660,
        1_074_306,
    ),
}

each_network = pytest.mark.parametrize("kind", BUILDERS)


def _count(variables):
    return sum(variable.value.shape.num_elements() for variable in variables)


def _small(kind, image_size=32, **kwargs):
    kwargs.setdefault("attention_resolutions", (16,))
    kwargs.setdefault("base_channels", 2)
    return BUILDERS[kind](image_size, **kwargs)


# --- The table -------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_table(name):
    settings, g_count, d_count = PARAMETERS[name]
    settings = {"image_size": 128, **settings}
    generator = build_generator(**settings)
    assert _count(generator.trainable_variables) == g_count
    del generator  # Its half of the memory, before the other is made.
    discriminator = build_discriminator(**settings)
    assert _count(discriminator.trainable_variables) == d_count


# --- Shapes, ranges, dtypes ------------------------------------------------


@pytest.mark.parametrize(
    ("image_size", "channels", "num_classes"),
    [
        *itertools.product((32, 64), (1, 3), (0, 3)),
        (128, 1, 3),
        (128, 3, 0),
        (256, 1, 0),
        (256, 3, 3),
    ],
)
def test_outputs_at_every_size(image_size, channels, num_classes):
    settings = {
        "channels": channels,
        "num_classes": num_classes,
        "base_channels": 1,
        "attention_resolutions": (16,),
    }
    generator = _small("generator", image_size, **settings)
    # Latents this large saturate a network that lacks its tanh.
    latents, labels = draw_inputs(generator)
    images = generator(100.0 * latents, labels)
    assert images.shape == (2, image_size, image_size, channels)
    assert images.dtype == tf.float32
    assert np.abs(images).max() <= 1.0
    assert np.std(images) > 1e-3
    assert np.any(images[0].numpy() != images[1].numpy())
    discriminator = _small("discriminator", image_size, **settings)
    logits = discriminator(images, labels)
    assert logits.shape == (2, 1)
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))
    assert logits[0, 0] != logits[1, 0]


@each_network
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_has_float32_outputs_and_weights(kind, precision):
    network = _small(kind, precision=precision, num_classes=3)
    assert keras.config.dtype_policy().name == "float32"  # Put back.
    reference = _small(kind, num_classes=3)
    randomize(reference)
    network.set_weights(reference.get_weights())
    values, labels = draw_inputs(network)
    with tf.GradientTape() as tape:
        outputs = network(values, labels, training=True)
    assert outputs.dtype == tf.float32
    variables = network.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(outputs, variables), strict=True
    ):
        assert variable.value.dtype == gradient.dtype == tf.float32
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient)))
    for block in network.blocks:
        assert block.compute_dtype == precision.removeprefix("mixed_")
    expected = reference(values, labels, training=True)
    if precision == "float32":
        np.testing.assert_array_equal(outputs, expected)
    else:
        # About 30 operations one after the other, each of which rounds.
        rounding = ROUNDING[precision.removeprefix("mixed_")]
        bound = 30 * rounding * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(outputs, expected, atol=bound)
        assert np.any(outputs.numpy() != expected.numpy())


# --- The architecture, written a second time -------------------------------


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


def _generate(network, latents, labels):
    """Table 1.1 of the specification, attention at 16 pixels."""
    features = latents @ _exact(network.dense.kernel)
    features += _exact(network.dense.bias)
    features = tf.reshape(features, [latents.shape[0], 4, 4, -1])
    for block in network.blocks:
        main = _conv(
            block.conv1, _up(_relu(_batch_norm(block.norm1, features, labels)))
        )
        main = _conv(block.conv2, _relu(_batch_norm(block.norm2, main, labels)))
        features = main + _conv(block.shortcut, _up(features))
        if features.shape[1] == 16:
            attention = attention_blocks(network)["attention_16"]
            features = _attention(attention, features)
    features = _relu(_batch_norm(network.norm, features, labels))
    return tf.tanh(_conv(network.conv, features))


def _discriminate(network, images, labels, halvings):
    """Table 1.2 of the specification, attention first at 16 pixels."""
    features, attended = images, False
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
        if features.shape[1] == 16 and not attended:
            attention = attention_blocks(network)["attention_16"]
            features, attended = _attention(attention, features), True
    assert attended
    features = tf.reduce_sum(_relu(features), [1, 2])
    logits = features @ _exact(network.dense.kernel)
    logits += _exact(network.dense.bias)
    if network.num_classes:
        embedded = tf.gather(_exact(network.embedding.kernel), labels)
        logits += tf.reduce_sum(embedded * features, -1, keepdims=True)
    return logits


@pytest.mark.parametrize("image_size", [32, 64])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_generator_is_the_written_architecture(image_size, num_classes):
    network = _small(
        "generator",
        image_size,
        num_classes=num_classes,
        base_channels=4,
        spectral_norm=False,
    )
    randomize(network)
    latents, labels = draw_inputs(network, batch=3)
    expected = _generate(network, tf.cast(latents, tf.float64), labels)
    outputs = network(latents, labels, training=True)
    np.testing.assert_allclose(outputs, expected, atol=5e-5)


@pytest.mark.parametrize(("image_size", "halvings"), [(32, 2), (64, 4)])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_discriminator_is_the_written_architecture(
    image_size, halvings, num_classes
):
    network = _small(
        "discriminator",
        image_size,
        num_classes=num_classes,
        base_channels=4,
        spectral_norm=False,
    )
    randomize(network)
    images, labels = draw_inputs(network, batch=3)
    expected = _discriminate(
        network, tf.cast(images, tf.float64), labels, halvings
    )
    outputs = network(images, labels, training=True)
    bound = 2e-5 * max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(outputs, expected, atol=bound)


@each_network
def test_spectral_norm_is_on_every_kernel_and_nothing_else(kind):
    network = _small(kind, num_classes=3)
    names = [variable.path for variable in network.weights]
    kernels = {p.rsplit("/", 1)[0] for p in names if p.endswith("/kernel")}
    vectors = {p.rsplit("/", 1)[0] for p in names if p.endswith("/u")}
    assert kernels == vectors
    # Dense; 3 of a block or 4 blocks with 2 shortcuts; 4 of attention; last.
    expected = {"generator": 1 + 3 * 3 + 4 + 1, "discriminator": 8 + 2 + 4 + 2}
    assert len(kernels) == expected[kind]
    plain = _small(kind, num_classes=3, spectral_norm=False)
    assert not [w for w in plain.weights if w.path.endswith("/u")]


@each_network
def test_every_trainable_variable_has_a_part_in_the_output(kind):
    network = _small(kind, num_classes=2)
    randomize(network)
    with tf.GradientTape() as tape:
        outputs = network(*draw_inputs(network), training=True)
        loss = tf.reduce_sum(outputs**2)
    variables = network.trainable_variables
    for variable, gradient in zip(
        variables, tape.gradient(loss, variables), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.any(tf.convert_to_tensor(gradient)), variable.path


# --- Attention: where, and errors ------------------------------------------


@pytest.mark.parametrize(
    ("image_size", "resolutions", "g_channels", "d_channels"),
    [
        # In units of base_channels, after generator block 3 and so on.
        (128, (8, 32), {8: 16, 32: 4}, {8: 8, 32: 2}),
        (128, (4,), {4: 16}, {4: 16}),
        (64, (32,), {32: 2}, {32: 1}),
        (32, (16,), {16: 4}, {16: 2}),
        (32, (8,), {8: 4}, {8: 2}),
        (256, (64,), {64: 4}, {64: 2}),
        (32, (), {}, {}),
    ],
)
def test_attention_is_where_it_was_asked_for(
    image_size, resolutions, g_channels, d_channels
):
    for kind, channels in (
        ("generator", g_channels),
        ("discriminator", d_channels),
    ):
        network = _small(kind, image_size, attention_resolutions=resolutions)
        blocks = attention_blocks(network)
        assert {
            name: block.f.kernel.shape[2] for name, block in blocks.items()
        } == {f"attention_{size}": 2 * n for size, n in channels.items()}
        for size in resolutions:
            _assert_sees(network, blocks[f"attention_{size}"], size)


def _assert_sees(network, block, resolution):
    """Checks the resolution a block works at, by watching its inputs."""
    seen = []
    original = block.call
    block.call = lambda inputs, **k: (
        seen.append(inputs) or original(inputs, **k)
    )
    network(*draw_inputs(network, batch=1))
    block.call = original
    assert [features.shape[1:3] for features in seen] == [
        (resolution, resolution)
    ]


def test_the_first_stage_of_a_resolution_has_the_attention():
    network = _small("discriminator", attention_resolutions=(8,))
    have = [hasattr(layer, "gamma") for layer in network.attentions]
    assert have == [False, True, False, False]  # 16, 8, 8, 8


@each_network
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attention_resolutions": (12,)}, r"\[12\].*8, 16"),
        ({"attention": "none"}, "'none'.*released.*paper.*residual"),
        ({"precision": "float64"}, "'float64'.*mixed_bfloat16"),
        ({"image_size": 48}, r"48.*\[32, 64, 128, 256\]"),
        ({"image_size": "32"}, r"'32'.*\[32, 64, 128, 256\]"),
        ({"base_channels": 0}, "base_channels is 0.*at least 1"),
        ({"base_channels": 1.5}, "base_channels is 1.5"),
        ({"num_classes": -1}, "num_classes is -1.*at least 0"),
        ({"pointwise": "magic"}, "'magic'.*conv2d.*matmul"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_answered_with_the_possible_ones(
    kind, settings, words
):
    with pytest.raises(ValueError, match=words):
        _small(kind, **{"image_size": 32, **settings})
    assert keras.config.dtype_policy().name == "float32"


# --- Checkpoints -----------------------------------------------------------


def _untracked(checkpoint, variables):
    """Those TensorFlow would leave out of the checkpoint, silently."""
    seen = set()
    for trackable in tf.train.TrackableView(checkpoint).descendants():
        seen.add(id(trackable))
        if isinstance(trackable, keras.Variable):
            seen.add(id(trackable.value))
    return [
        variable.path
        for variable in variables
        if id(variable) not in seen and id(variable.value) not in seen
    ]


@each_network
@pytest.mark.parametrize("attention", ["released", "residual"])
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_checkpoint_holds_every_variable(
    kind, attention, precision, tmp_path
):
    settings = {
        "num_classes": 3,
        "attention": attention,
        "precision": precision,
    }
    network = _small(kind, **settings)
    randomize(network)
    checkpoint = tf.train.Checkpoint(network=network)
    assert _untracked(checkpoint, network.weights) == []
    path = checkpoint.write(str(tmp_path / "checkpoint"))
    fresh = _small(kind, **settings)
    tf.train.Checkpoint(network=fresh).read(path).assert_consumed()
    names = set()
    for one, other in zip(fresh.weights, network.weights, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=other.path)
        names.add(other.name)
    state = {"kernel", "bias", "u", "gamma"}
    if kind == "generator":
        state |= {"gain", "moving_mean", "moving_variance", "updates"}
    assert names == state


@each_network
def test_one_variant_reads_the_checkpoint_of_another(kind, tmp_path):
    network = _small(kind, num_classes=3)
    randomize(network)
    path = tf.train.Checkpoint(network=network).write(str(tmp_path / "ckpt"))
    for change in (
        {"pointwise": "matmul"},
        {"fused_resampling": False},
        {"precision": "mixed_float16"},
    ):
        other = _small(kind, num_classes=3, **change)
        tf.train.Checkpoint(network=other).read(path).assert_consumed()
        for mine, theirs in zip(other.weights, network.weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
