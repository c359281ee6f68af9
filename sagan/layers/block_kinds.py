"""Alternatives to the residual block's main path of two 3x3 convolutions.

All have the residual block's form: each layer comes after ReLU, in the
generator after batch norm and ReLU; the generator's path up-samples at its
start, the discriminator's pools at its end. Where that is computed follows from
what commutes (`fused=False` computes it where it is defined, except around max
pooling):

- Nearest up-sampling commutes with all that acts on each position separately:
  1x1 convolutions, ReLU, batch norm. It moves up to the first layer that sees
  neighbours, and is merged into a 3x3 or 5x5 convolution.
- Average pooling commutes with the 1x1 convolution before it, and is merged
  into a 3x3 or 5x5 convolution before it. It cannot pass a ReLU: the layers
  before the last one keep the higher resolution.
"""

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

from sagan.layers.conv import Conv3x3, Conv5x5
from sagan.layers.depthwise import DepthwiseConv3x3
from sagan.layers.elementwise import ELEMENTWISE, Elementwise
from sagan.layers.inception import Inception
from sagan.layers.path import Path, Projection
from sagan.layers.recalibration import Recalibration

BlockName = Literal["residual", "bottleneck", "separable", "inception", "nin"]


class Recipes(NamedTuple):
    """Recipes for the layers of a path, and what is between them.

    All layers take `resample`.
    """

    conv: partial
    conv5: partial
    depthwise: partial
    project: partial
    elementwise: Elementwise


def _bottleneck(filters, up, down, make, norm=None, first=False, **options):
    """1x1 to a quarter, 3x3, 1x1 back: He et al. (2016), arXiv:1512.03385."""
    narrow = max(1, filters // 4)
    stages = (
        make.project(narrow),
        make.conv(narrow, resample=up),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first, make.elementwise, **options)


def _separable(filters, up, down, make, norm=None, first=False, **options):
    """Twice a depthwise 3x3, then 1x1: Howard et al. (2017)."""
    stages = (
        make.depthwise(resample=up),
        make.project(filters),
        make.depthwise(),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first, make.elementwise, **options)


def _nin(filters, up, down, make, norm=None, first=False, **options):
    """3x3, then twice 1x1 (mlpconv): Lin et al. (2014), arXiv:1312.4400."""
    stages = (
        make.conv(filters, resample=up),
        make.project(filters),
        make.project(filters, resample=down),
    )
    return Path(stages, norm, first, make.elementwise, **options)


_PATHS = {
    "bottleneck": _bottleneck,
    "separable": _separable,
    "inception": Inception,
    "nin": _nin,
}


def block_recipe(
    block,
    kind: BlockName,
    recalibrate: bool,
    pointwise,
    kernel: Mapping[str, object],
    fused_resampling: bool,
    product_gradient: bool = True,
    elementwise: Elementwise = ELEMENTWISE,
    **options,
) -> partial:
    """Returns the recipe for a network's blocks.

    Args:
        block: `GeneratorBlock` or `DiscriminatorBlock`.
        kind: What its main path is.
        recalibrate: Whether the path ends with a `Recalibration`.
        pointwise: Recipe for all 1x1 convolutions.
        kernel: `spectral_norm` and `initializer` of the other kernels, as for
            `SpectralLayer`; depthwise ones, filters of one channel each, have
            an initializer of their own.
        fused_resampling: Whether resampling is merged into the layers of the
            main path.
        product_gradient: As for `Conv3x3`.
        elementwise: As in `GeneratorBlock`.
        **options: Further arguments of the block.
    """
    settings = {
        **kernel,
        "fused": fused_resampling,
        "product_gradient": product_gradient,
    }
    depthwise = {k: v for k, v in kernel.items() if k != "initializer"}
    conv = partial(Conv3x3, **settings)
    make = Recipes(
        conv,
        partial(Conv5x5, **settings),
        partial(DepthwiseConv3x3, **depthwise),
        partial(Projection, fused=fused_resampling, pointwise=pointwise),
        elementwise,
    )
    path = _PATHS.get(kind)
    return partial(
        block,
        conv=conv,
        pointwise=pointwise,
        main_path=path and partial(path, make=make),
        recalibration=(
            partial(Recalibration, pointwise=pointwise) if recalibrate else None
        ),
        elementwise=elementwise,
        **options,
    )
