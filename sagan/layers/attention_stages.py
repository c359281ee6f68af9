"""Which stages of a network have an attention block, and of what kind."""

import keras

from sagan.layers.attention import ResidualControl, SelfAttention

ATTENTIONS = ("released", "paper", "residual")


def attention_stages(
    stages,
    resolutions,
    attention,
    pointwise,
    spectral_norm,
    fused_fgh,
    query_block,
):
    """Makes one layer a stage: attention where asked, else the identity.

    Args:
        stages: Resolution of the features at each stage. Where several stages
            share one, the first gets the block.
        resolutions: Those that are to have an attention block.
        attention: One of `ATTENTIONS`: a variant of `SelfAttention`, or the
            `ResidualControl`, which has no f, g, h and no queries.
        pointwise: As of the blocks, like all that follows.
        spectral_norm: Whether kernels are spectrally normalised.
        fused_fgh: Whether f, g and h are one product.
        query_block: Queries at a time.

    Returns:
        Tuple of layers, as long as `stages`.

    Raises:
        ValueError: If a resolution is at no stage, or `attention` is unknown.
    """
    missing = sorted(set(resolutions) - set(stages))
    if missing:
        raise ValueError(
            f"attention_resolutions has {missing}, but the features of this "
            f"network are {sorted(set(stages))} pixels wide."
        )
    if attention not in ATTENTIONS:
        raise ValueError(
            f"Unknown attention {attention!r}: expected one of "
            f"{', '.join(ATTENTIONS)}. For none, attention_resolutions = ()."
        )
    layers = []
    for i, resolution in enumerate(stages):
        name = f"attention_{resolution}"
        if resolution not in resolutions or resolution in stages[:i]:
            layers.append(keras.layers.Identity())
        elif attention == "residual":
            layers.append(ResidualControl(pointwise, spectral_norm, name=name))
        else:
            layers.append(
                SelfAttention(
                    attention,
                    pointwise,
                    spectral_norm,
                    fused_fgh,
                    query_block,
                    name=name,
                )
            )
    return tuple(layers)
