"""The networks against the parameter table and the written architecture."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from random_weights import draw_inputs, randomize
from reference_networks import discriminate, generate

from sagan.discriminator import build_discriminator
from sagan.generator import build_generator
from sagan.layers.attention import attention_blocks
from sagan.layers.precision import PRECISIONS

BUILDERS = {"generator": build_generator, "discriminator": build_discriminator}
ROUNDING = {"mixed_float16": 2.0**-11, "mixed_bfloat16": 2.0**-8}

# Trainable parameters of generator and discriminator. The first is the table
# of the released code; those of 64 pixels, of attention at 64 and of CIFAR-10
# are the counts PyTorch-StudioGAN logs for its SAGAN.
AT_16 = {"image_size": 32, "attention_resolutions": (16,)}
AT_64 = {"num_classes": 1000, "attention_resolutions": (64,)}
PARAMETERS = (
    ({"num_classes": 1000}, 42_078_852, 39_463_618),
    (AT_64, 42_017_412, 39_448_258),
    (AT_64 | {"attention_resolutions": ()}, 41_996_931, 39_443_137),
    ({"num_classes": 1000, "attention": "paper"}, 42_029_700, 39_451_330),
    ({}, 32_232_708, 38_439_618),
    ({"image_size": 64}, 12_241_156, 19_547_842),
    (AT_16 | {"num_classes": 10}, 4_386_308, 1_075_586),
    (AT_16, 4_358_660, 1_074_306),
)

each_network = pytest.mark.parametrize("kind", BUILDERS)


def build(kind, image_size=32, **settings):
    settings = {"attention_resolutions": (16,), "base_channels": 2} | settings
    return BUILDERS[kind](image_size, **settings)


def build_random(kind, *arguments, **settings):
    network = build(kind, *arguments, **settings)
    randomize(network)
    return network


@pytest.mark.parametrize(("settings", "g", "d"), PARAMETERS, ids=str)
def test_parameter_table(settings, g, d):
    """Of variables that have a shape but no memory."""
    for make, expected in ((build_generator, g), (build_discriminator, d)):
        with (
            tf.Graph().as_default(),
            keras.StatelessScope(initialize_variables=False),
        ):
            network = make(**{"image_size": 128} | settings)
        # Or Keras would make their values, of gigabytes, at the next chance.
        keras.utils.clear_session()
        shapes = [v.shape for v in network.trainable_variables]
        assert sum(np.prod(shape, dtype=int) for shape in shapes) == expected


@pytest.mark.parametrize(
    ("image_size", "channels", "num_classes", "g_attention", "d_attention"),
    [
        # Attention by resolution: where it was asked for, and its channels.
        (32, 1, 0, {8: 4}, {8: 2}),
        (32, 3, 3, {}, {}),
        (64, 3, 0, {4: 16, 32: 2}, {4: 8, 32: 1}),
        (64, 1, 3, {16: 4}, {16: 2}),
        (128, 1, 3, {8: 16, 32: 4}, {8: 8, 32: 2}),
        (256, 3, 0, {64: 4}, {64: 2}),
    ],
)
def test_outputs_and_attention_at_every_size(
    image_size, channels, num_classes, g_attention, d_attention
):
    settings = {
        "channels": channels,
        "num_classes": num_classes,
        "base_channels": 1,
        "attention_resolutions": tuple(g_attention),
    }
    generator = build("generator", image_size, **settings)
    # Latents this large saturate a network that lacks its tanh.
    latents, labels = draw_inputs(generator)
    images = call_with_attention(
        generator, g_attention, 100.0 * latents, labels
    )
    assert images.shape == (2, image_size, image_size, channels)
    assert images.dtype == tf.float32
    assert np.abs(images).max() <= 1.0
    assert np.std(images) > 1e-3
    assert np.any(images[0].numpy() != images[1].numpy())
    discriminator = build("discriminator", image_size, **settings)
    logits = call_with_attention(discriminator, d_attention, images, labels)
    assert logits.shape == (2, 1)
    assert logits.dtype == tf.float32
    assert np.all(np.isfinite(logits))
    assert logits[0, 0] != logits[1, 0]


def call_with_attention(network, expected, *inputs):
    """Calls a network and checks what its attention blocks are fed."""
    seen, blocks = {}, attention_blocks(network)
    for name, block in blocks.items():

        def record(features, name=name, call=block.call, **kwargs):
            seen[name] = tuple(features.shape[1:])
            return call(features, **kwargs)

        block.call = record
    outputs = network(*inputs)
    assert seen == {
        f"attention_{size}": (size, size, channels)
        for size, channels in expected.items()
    }
    return outputs


def test_the_first_stage_of_a_resolution_has_the_attention():
    network = build("discriminator", attention_resolutions=(8,))
    have = [hasattr(layer, "gamma") for layer in network.attentions]
    assert have == [False, True, False, False]  # 16, 8, 8, 8


@each_network
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_has_float32_outputs_and_weights(kind, precision):
    reference = build_random(kind, num_classes=2)
    network = build(kind, precision=precision, num_classes=2)
    assert keras.config.dtype_policy().name == "float32"  # Put back.
    network.set_weights(reference.get_weights())
    inputs = draw_inputs(network)
    with tf.GradientTape() as tape:
        outputs = network(*inputs, training=True)
        loss = tf.reduce_sum(outputs**2)
    assert outputs.dtype == tf.float32
    variables = network.trainable_variables
    cancelled = ()
    if kind == "generator":
        cancelled = {id(block.conv1.bias) for block in network.blocks}
    for variable, gradient in zip(
        variables, tape.gradient(loss, variables), strict=True
    ):
        assert variable.value.dtype == gradient.dtype == tf.float32
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient)))
        # Every variable has a part in the outputs, except the biases that
        # batch norm cancels.
        some = np.any(tf.convert_to_tensor(gradient))
        assert some or id(variable) in cancelled, variable.path
    for block in network.blocks:
        assert block.compute_dtype == precision.removeprefix("mixed_")
    expected = reference(*inputs, training=True)
    if precision == "float32":
        np.testing.assert_array_equal(outputs, expected)
    else:
        # About 30 operations one after the other, each of which rounds.
        bound = 30 * ROUNDING[precision] * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(outputs, expected, atol=bound)
        assert np.any(outputs.numpy() != expected.numpy())


@pytest.mark.parametrize(
    ("image_size", "halvings", "num_classes"), [(32, 2, 3), (64, 4, 0)]
)
@each_network
def test_network_is_the_written_architecture(
    kind, image_size, halvings, num_classes
):
    network = build_random(
        kind,
        image_size,
        num_classes=num_classes,
        base_channels=4,
        spectral_norm=False,
    )
    inputs, labels = draw_inputs(network, batch=3)
    exact = tf.cast(inputs, tf.float64)
    if kind == "generator":
        expected, bound = generate(network, exact, labels), 5e-5
    else:
        expected = discriminate(network, exact, labels, halvings)
        bound = 2e-5 * max(1.0, np.abs(expected).max())
    outputs = network(inputs, labels, training=True)
    np.testing.assert_allclose(outputs, expected, atol=bound)


@each_network
def test_spectral_norm_is_on_every_kernel_and_nothing_else(kind):
    network = build(kind, num_classes=3)
    names = [variable.path for variable in network.weights]
    kernels = {p.rsplit("/", 1)[0] for p in names if p.endswith("/kernel")}
    vectors = {p.rsplit("/", 1)[0] for p in names if p.endswith("/u")}
    assert kernels == vectors
    # Dense; 3 of a block or 4 blocks with 2 shortcuts; 4 of attention; last.
    expected = {"generator": 1 + 3 * 3 + 4 + 1, "discriminator": 8 + 2 + 4 + 2}
    assert len(kernels) == expected[kind]
    plain = build(kind, num_classes=3, spectral_norm=False)
    assert not [w for w in plain.weights if w.path.endswith("/u")]


def test_normalised_class_tables_have_the_parameters_of_others(tmp_path):
    """And all of their state is in a checkpoint."""
    plain, network, fresh = (
        build_random("generator", num_classes=3, class_spectral_norm=on)
        for on in (False, True, True)
    )
    assert network.count_params() - plain.count_params() == sum(
        2 * norm.moving_mean.shape[0]
        for block in network.blocks
        for norm in (block.norm1, block.norm2)
    )
    counts = [
        sum(np.prod(v.shape, dtype=int) for v in each.trainable_variables)
        for each in (plain, network)
    ]
    assert counts[0] == counts[1]
    randomize(fresh, 1)
    checkpoint = tf.train.Checkpoint(network=network)
    path = checkpoint.write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(network=fresh).read(path).assert_consumed()
    inputs = draw_inputs(network, 3)
    np.testing.assert_array_equal(fresh(*inputs), network(*inputs))
    assert np.abs(network(*inputs) - plain(*inputs)).max() > 1e-3


@each_network
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attention_resolutions": (12,)}, r"\[12\].*8, 16"),
        ({"attention": "none"}, "'none'.*released.*paper.*residual"),
        ({"block": "resnet"}, "'resnet'.*residual.*bottleneck.*inception"),
        (
            {"block": "inception", "base_channels": 1, "image_size": 64},
            "at least 4",
        ),
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
        build(kind, **{"image_size": 32} | settings)
    assert keras.config.dtype_policy().name == "float32"


@each_network
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"attention": "residual"},
        {"block": "separable"},
        {"block": "inception", "recalibrate": True},
    ],
    ids=str,
)
def test_a_checkpoint_holds_every_variable(kind, change, tmp_path):
    settings = {"num_classes": 3} | change
    network = build_random(kind, **settings)
    checkpoint = tf.train.Checkpoint(network=network)
    # Others TensorFlow would leave out, silently.
    tracked = tf.train.TrackableView(checkpoint).descendants()
    ids = set(map(id, tracked))
    for variable in network.weights:
        assert {id(variable), id(variable.value)} & ids, variable.path
    path = checkpoint.write(str(tmp_path / "checkpoint"))
    changes = [{}]
    if not change:  # Any variant reads it.
        changes += [
            {"pointwise": "matmul"},
            {"fused_resampling": False},
            {"precision": "mixed_float16"},
        ]
    for change in changes:
        fresh = build(kind, **settings, **change)
        tf.train.Checkpoint(network=fresh).read(path).assert_consumed()
        for one, other in zip(fresh.weights, network.weights, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=other.path)
    state = {"kernel", "bias", "u", "gamma"}
    if kind == "generator":
        state |= {"gain", "moving_mean", "moving_variance", "updates"}
    assert {variable.name for variable in network.weights} == state
