"""Attention maps of networks, for generated and real images."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np

from sagan.layers.recorder import call_with_attention
from sagan.metrics.attention import attention_statistics, distinct_queries

_BATCH_SIZE = 16
# Numbers that training logs; it has gamma already, and the rest is constant.
_LOGGED = ("change", "distance", "far", "entropy", "largest", "distinct")


@dataclasses.dataclass(frozen=True)
class BlockMaps:
    """What an attention block computed for some images.

    Attributes:
        name: Name of the network and of the block.
        maps: Attention weights, `[images, queries, keys]`, float32.
        size: Height and width of the block's features.
        pixels: Image pixels per position.
        gamma: The block's gate.
        change: Mean over images of the norm of what the block adds to its
            input, over that of the input.
    """

    name: str
    maps: np.ndarray
    size: tuple[int, int]
    pixels: int
    gamma: float
    change: float

    @functools.cached_property
    def statistics(self) -> dict[str, float]:
        """Numbers about the block by name.

        "gamma", "change" and those of `attention_statistics`.
        """
        return {
            "gamma": self.gamma,
            "change": self.change,
            **attention_statistics(self.maps, self.size, self.pixels),
        }

    def choose_queries(self, image: int, count: int) -> list[tuple[int, int]]:
        """Returns rows and columns of the queries whose maps differ most."""
        chosen = distinct_queries(self.maps[image], count)
        return [divmod(query, self.size[1]) for query in chosen]

    def position(self, row: int, column: int) -> tuple[int, int]:
        """Returns the row and column of the features under an image pixel."""
        return row // self.pixels, column // self.pixels


def attend(network, inputs, labels) -> tuple[np.ndarray, list[BlockMaps]]:
    """Runs a network for inference and collects its attention maps.

    Args:
        network: A `Generator` or a `Discriminator`.
        inputs: Latents `[n, latent_dim]` or images, as the network takes them.
        labels: `[n]`, integer.

    Returns:
        What the network returns, and the maps of its blocks in call order.
    """
    outputs, batches = [], []
    for i in range(0, len(inputs), _BATCH_SIZE):
        rows = slice(i, i + _BATCH_SIZE)
        output, attended = call_with_attention(
            network, inputs[rows], labels[rows]
        )
        outputs.append(output.numpy())
        batches.append(attended)
    return np.concatenate(outputs), list(block_maps(network, batches))


def block_maps(network, batches) -> Iterator[BlockMaps]:
    """Yields the maps of a network's blocks in call order.

    Args:
        network: A `Generator` or a `Discriminator`, whose features are square.
        batches: What `call_with_attention` recorded for each batch.
    """
    layers = {layer.name: layer for layer in network.attentions}
    for name in batches[0]:
        maps, change = (
            np.concatenate([part.numpy() for part in parts])
            for parts in zip(*(batch[name] for batch in batches), strict=True)
        )
        side = math.isqrt(maps.shape[1])
        yield BlockMaps(
            f"{network.name}/{name}",
            maps,
            (side, side),
            network.image_shape[0] // side,
            float(layers[name].gamma.numpy()),
            float(change.mean()),
        )


@dataclasses.dataclass(frozen=True)
class Looks:
    """Where the networks of one checkpoint look.

    Attributes:
        step: Step of the checkpoint.
        parts: Images, and the maps of a network's blocks for them, by what the
            images are: "generated" or "real".
    """

    step: int
    parts: list[tuple[str, np.ndarray, list[BlockMaps]]]

    def numbers(self) -> list[dict[str, object]]:
        """Returns a row per block and kind of images."""
        return [
            {
                "step": self.step,
                "images": kind,
                "block": block.name,
                **block.statistics,
            }
            for kind, _, blocks in self.parts
            for block in blocks
        ]

    def scalars(self) -> dict[str, float]:
        """Returns the numbers for generated images that training changes."""
        return {
            f"attention/{row['block']}/{name}": float(value)
            for row in self.numbers()
            if row["images"] == "generated"
            for name, value in row.items()
            if name in _LOGGED
        }


def look(generator, discriminator, step: int, inputs, real=None) -> Looks:
    """Collects the maps of both networks for the same images.

    Networks without attention are left out.

    Args:
        generator: A `Generator`.
        discriminator: A `Discriminator`.
        step: Step of their checkpoint.
        inputs: Latents and labels, as for `fixed_inputs`.
        real: Real images, float in [-1, 1], and labels, which the discriminator
            sees as well; None for none.

    Raises:
        ValueError: If neither has self-attention.
    """
    images, blocks = attend(generator, *inputs)
    blocks += attend(discriminator, images, inputs[1])[1]
    parts = [("generated", images, blocks)]
    if real is not None:
        parts.append(("real", real[0], attend(discriminator, *real)[1]))
    if not parts[0][2]:
        raise ValueError(
            "Neither network of this run has self-attention to show: see "
            "attention and attention_resolutions of build_generator and "
            "build_discriminator."
        )
    return Looks(step, parts)
