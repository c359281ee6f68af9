"""What a config binds to make a network: checks, precision, variables."""

import contextlib
from collections.abc import Sequence

import gin
import keras
import tensorflow as tf

from sagan.networks import GENERATOR_WIDTHS, Discriminator, Generator
from sagan.settings import check_booleans, check_choices, check_integers

SYNCHRONIZED = "synchronized"
BATCH_NORMS = ("per_replica", SYNCHRONIZED)
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@gin.configurable
def build_generator(
    image_size: int = gin.REQUIRED,
    channels: int = 3,
    base_channels: int = 64,
    latent_dim: int = 128,
    num_classes: int = 0,
    attention: str = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: int | None = None,
    spectral_norm: bool = True,
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    fused_norm: bool = True,
    batch_norm: str = "per_replica",
    recompute: bool = False,
    batch_norm_decay: float = 0.999,
    final_batch_norm_decay: float = 0.9999,
    precision: str = "float32",
) -> Generator:
    """Makes a `Generator` with its variables.

    Args:
        batch_norm: What normalises in training on several replicas: the
            moments of each replica's part of the batch, "per_replica" as in
            the released code, or "synchronized", those of all of it.
        precision: Dtype policy, one of `PRECISIONS`. The other arguments are
            those of `Generator`.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    _check_size(image_size, attention_resolutions)
    check_integers(
        "build_generator",
        1,
        channels=channels,
        base_channels=base_channels,
        latent_dim=latent_dim,
    )
    check_integers("build_generator", 0, num_classes=num_classes)
    if query_block is not None:
        check_integers("build_generator", 0, query_block=query_block)
    check_booleans(
        "build_generator",
        spectral_norm=spectral_norm,
        fused_resampling=fused_resampling,
        low_resolution_shortcut=low_resolution_shortcut,
        fused_norm=fused_norm,
        recompute=recompute,
        fused_fgh=fused_fgh,
    )
    check_choices("build_generator.batch_norm", [batch_norm], BATCH_NORMS)
    with _dtype_policy(precision):
        generator = Generator(
            image_size,
            channels=channels,
            base_channels=base_channels,
            latent_dim=latent_dim,
            num_classes=num_classes,
            attention=attention,
            attention_resolutions=attention_resolutions,
            pointwise=pointwise,
            fused_fgh=fused_fgh,
            query_block=query_block,
            spectral_norm=spectral_norm,
            fused_resampling=fused_resampling,
            low_resolution_shortcut=low_resolution_shortcut,
            fused_norm=fused_norm,
            synchronized_norm=batch_norm == SYNCHRONIZED,
            recompute=recompute,
            batch_norm_decay=batch_norm_decay,
            final_batch_norm_decay=final_batch_norm_decay,
        )
    generator(tf.zeros([1, latent_dim]), tf.zeros([1], tf.int32))
    return generator


@gin.configurable
def build_discriminator(
    image_size: int = gin.REQUIRED,
    channels: int = 3,
    base_channels: int = 64,
    num_classes: int = 0,
    attention: str = "released",
    attention_resolutions: Sequence[int] = (32,),
    pointwise: str = "conv2d",
    fused_fgh: bool = False,
    query_block: int | None = None,
    spectral_norm: bool = True,
    fused_resampling: bool = True,
    low_resolution_shortcut: bool = True,
    recompute: bool = False,
    precision: str = "float32",
) -> Discriminator:
    """Makes a `Discriminator` with its variables.

    Args:
        precision: Dtype policy, one of `PRECISIONS`. The other arguments are
            those of `Discriminator`.

    Raises:
        ValueError: If a value is not among the possible ones.
    """
    _check_size(image_size, attention_resolutions)
    check_integers(
        "build_discriminator",
        1,
        channels=channels,
        base_channels=base_channels,
    )
    check_integers("build_discriminator", 0, num_classes=num_classes)
    if query_block is not None:
        check_integers("build_discriminator", 0, query_block=query_block)
    check_booleans(
        "build_discriminator",
        spectral_norm=spectral_norm,
        fused_resampling=fused_resampling,
        low_resolution_shortcut=low_resolution_shortcut,
        recompute=recompute,
        fused_fgh=fused_fgh,
    )
    with _dtype_policy(precision):
        discriminator = Discriminator(
            image_size,
            channels=channels,
            base_channels=base_channels,
            num_classes=num_classes,
            attention=attention,
            attention_resolutions=attention_resolutions,
            pointwise=pointwise,
            fused_fgh=fused_fgh,
            query_block=query_block,
            spectral_norm=spectral_norm,
            fused_resampling=fused_resampling,
            low_resolution_shortcut=low_resolution_shortcut,
            recompute=recompute,
        )
    images = tf.zeros([1, *discriminator.image_shape])
    discriminator(images, tf.zeros([1], tf.int32))
    return discriminator


def _check_size(image_size, attention_resolutions):
    if image_size not in GENERATOR_WIDTHS:
        raise ValueError(
            f"image_size is {image_size!r}: expected one of "
            f"{sorted(GENERATOR_WIDTHS)}."
        )
    if not isinstance(attention_resolutions, (tuple, list)):
        raise ValueError(
            f"attention_resolutions is {attention_resolutions!r}: expected a "
            "tuple such as (32,), or () for none."
        )


@contextlib.contextmanager
def _dtype_policy(precision):
    """Makes layers constructed inside follow the policy `precision`."""
    if precision not in PRECISIONS:
        raise ValueError(
            f"Unknown precision {precision!r}: expected one of "
            f"{', '.join(PRECISIONS)}."
        )
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)
