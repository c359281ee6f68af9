"""The linear operations of a network, with their shapes in a run."""

import dataclasses
import itertools
import math

from sagan.layers.attention import SelfAttention
from sagan.layers.conv import Conv3x3, Conv5x5
from sagan.layers.depthwise import DepthwiseConv3x3
from sagan.layers.kernel_gradient import pays
from sagan.layers.pointwise import Pointwise

CONV, CONV5 = "3x3 convolution", "5x5 convolution"
UP, DOWN = "transposed convolution", "strided convolution"
DEPTHWISE = "depthwise convolution"
BIAS = "bias"
_OTHERS = (CONV, CONV5, UP, DOWN, DEPTHWISE, BIAS)
# A sum in bfloat16 stops growing after some hundred terms, in float16 after
# some thousand.
_MOST_POSITIONS, _FEWEST_POSITIONS = 2**13, 2**10
# Within these bounds, multiply-adds of a product and elements of an operand.
_WORK, _NUMBERS = 2**24, 2**19
# A narrower operation replaces one with more multiply-adds.
_MOST_WORK = 2**27


@dataclasses.dataclass(frozen=True, order=True)
class Operation:
    """A convolution, or the addition of a bias.

    Attributes:
        name: A constant of this module or a pointwise implementation.
        dtype: Dtype of the computation.
        inputs: `(batch, height, width, channels)`.
        kernel: `(k, k, channels // groups, filters)`; `(channels,)` for a bias.
        products: Whether the kernel's gradient is computed as products.
    """

    name: str
    dtype: str
    inputs: tuple[int, int, int, int]
    kernel: tuple[int, ...]
    products: bool = False

    def __str__(self):
        return "x".join(map(str, self.inputs)) + f"->{self.kernel[-1]}"

    @property
    def is_pointwise(self) -> bool:
        return self.name not in _OTHERS

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        batch, height, width, _ = self.inputs
        if self.name == UP:
            height, width = 2 * height, 2 * width
        if self.name == DOWN:
            height, width = height // 2, width // 2
        return batch, height, width, self.kernel[-1]

    @property
    def positions(self) -> int:
        """Number of positions that the gradient of the kernel sums over."""
        shape = self.outputs if self.name == UP else self.inputs
        return math.prod(shape[:3])

    @property
    def fewest_positions(self) -> int:
        """Number of positions of the inputs or of the outputs."""
        return min(math.prod(self.inputs[:3]), math.prod(self.outputs[:3]))

    @property
    def work(self) -> int:
        return self.positions * math.prod(self.kernel)


def network_operations(network, images: int) -> list[Operation]:
    """Returns representative convolutions and biases of a network.

    Every pointwise layer, with each pair of channels and filters at its
    largest resolution; and the narrowest and a wide one of each other kind of
    convolution and of the biases. Dense layers and the products of the
    attention are not included. The batch is reduced to save time.

    Args:
        network: A built `Generator` or `Discriminator`.
        images: Number of images in a call of the run.
    """
    largest = {}
    for operation in _operations(network, images):
        key = *_kind(operation), operation.kernel
        if key not in largest or operation.inputs > largest[key].inputs:
            largest[key] = operation
    found = sorted(map(_cut, largest.values()), key=_kind)
    chosen = set()
    for _, same in itertools.groupby(found, key=_kind):
        same = sorted(same, key=lambda operation: operation.work)
        if same[0].is_pointwise:
            chosen.update(same)
        else:
            few = [o for o in same if o.work <= _MOST_WORK]
            chosen.update((same[0], (few or same[:1])[-1]))
    return sorted(chosen)


def _kind(operation):
    return operation.name, operation.dtype, operation.products


def _operations(network, images):
    for layer in network._flatten_layers():  # Keras has no public walk.
        if isinstance(layer, SelfAttention) and layer.fused:
            yield _fused(layer, images)
        if not isinstance(layer, Pointwise | Conv3x3 | DepthwiseConv3x3):
            continue
        operation = layer_operation(layer, images)
        yield operation
        if layer.use_bias:
            yield dataclasses.replace(
                operation,
                name=BIAS,
                dtype=layer.compute_dtype,
                inputs=operation.outputs,
                kernel=(layer.filters,),
                products=False,
            )


def layer_operation(layer, images):
    """Returns the `Operation` of a layer, without its bias.

    Args:
        layer: A built `Pointwise`, `Conv3x3` or `DepthwiseConv3x3`.
        images: Number of images in a call.
    """
    _, height, width, channels = layer.get_build_config()["input_shape"]
    dtype = layer.compute_dtype
    if isinstance(layer, Pointwise):
        name = layer.implementation
    elif isinstance(layer, Conv3x3) and layer.fused and layer.resample:
        name = {"up": UP, "down": DOWN}[layer.resample]
    else:
        name = CONV5 if isinstance(layer, Conv5x5) else CONV
        if isinstance(layer, DepthwiseConv3x3):
            name, dtype = DEPTHWISE, "float32"
        if layer.resample == "up":
            height, width = 2 * height, 2 * width
    inputs = (images, height, width, channels)
    operation = Operation(name, dtype, inputs, tuple(layer.kernel.shape))
    if getattr(layer, "product_gradient", False):
        positions = operation.fewest_positions
        products = pays(dtype, positions, operation.kernel)
        operation = dataclasses.replace(operation, products=products)
    return operation


def _fused(attention, images):
    """Returns the product of f, g and h with their concatenated kernels."""
    layers = attention.f, attention.g, attention.h
    operation = layer_operation(attention.f, images)
    filters = sum(layer.filters for layer in layers)
    return dataclasses.replace(
        operation, kernel=(*operation.kernel[:3], filters)
    )


def _cut(operation):
    """Returns the operation on the fewest images that still reveal errors."""
    images, *shape = operation.inputs
    per_image = operation.positions // images
    positions = min(
        _MOST_POSITIONS,
        _WORK // math.prod(operation.kernel),
        _NUMBERS // max(shape[-1], operation.kernel[-1]),
    )
    positions = max(positions, _FEWEST_POSITIONS)
    images = min(images, -(-positions // per_image))
    return dataclasses.replace(operation, inputs=(images, *shape))
