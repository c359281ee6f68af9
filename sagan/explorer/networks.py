"""The networks of a run, at any of its checkpoints, one image at a time."""

import collections
import dataclasses
import functools
import pathlib
import threading

import numpy as np
import tensorflow as tf

from sagan.config import settings_of
from sagan.discriminator import build_discriminator
from sagan.evaluation.attention import BlockMaps, block_maps
from sagan.evaluation.samples import restored_generator, use_standing_moments
from sagan.explorer.directions import principal_directions
from sagan.layers.recorder import call_with_attention
from sagan.runs.checkpoints import (
    CHECKPOINT_FOLDER,
    checkpoint_steps,
    restore_generator,
    restore_network,
)
from sagan.runs.record import last_data, parse_recorded_config
from sagan.runs.sample_grids import to_uint8

WEIGHTS = ("ema", "raw")
STATISTICS = ("moving", "standing")
# What is kept of the values of checkpoints and of what was computed.
_KEPT_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Weights:
    """Which weights of a run draw.

    Attributes:
        step: Step of the checkpoint.
        average: One of `WEIGHTS`: the moving average or the raw weights.
        statistics: One of `STATISTICS`, of batch norm.
    """

    step: int
    average: str = "ema"
    statistics: str = "moving"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a generator draws an image from.

    Attributes:
        latents: `latent_dim` values.
        classes: Weight of each class; empty for an unconditional generator.
    """

    latents: tuple[float, ...]
    classes: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Look:
    """An image, and what both networks compute on the way.

    Attributes:
        pixels: `[size, size, channels]`, uint8.
        logit: What the discriminator says of it: above 0 for real.
        blocks: Maps of the attention blocks by name, of one image each.
    """

    pixels: np.ndarray
    logit: float
    blocks: dict[str, BlockMaps]

    def nbytes(self) -> int:
        return self.pixels.nbytes + sum(
            block.maps.nbytes for block in self.blocks.values()
        )


class Run:
    """The networks of a run. Calls wait for each other.

    Args:
        workdir: Folder of the run.
        bindings: Override its config, as in `sagan.config.parse_config`.

    Raises:
        ValueError: If it is no run, or has no checkpoint that can be read.
    """

    def __init__(self, workdir, bindings=()):
        # One image at a time has no use for more devices.
        bindings = [*bindings, "train.strategy = 'none'"]
        parse_recorded_config(workdir, bindings)
        self.workdir = pathlib.Path(workdir)
        self.folder = self.workdir / CHECKPOINT_FOLDER
        self.settings = settings_of("train", ("num_steps", "seed", "labels"))
        self.generator, _, _ = restored_generator(workdir)
        self.discriminator = build_discriminator()
        self.directions, self.shares = principal_directions(self.generator)
        names = (last_data(workdir) or {}).get("classes", [])
        count = self.generator.num_classes
        self.classes = names if len(names) == count else list(range(count))
        label = tf.TensorSpec([1], tf.int32)
        self._generate = _compile(
            self.generator,
            [self.generator.latent_dim],
            tf.TensorSpec([1, count]) if count else label,
        )
        self._discriminate = _compile(
            self.discriminator, self.discriminator.image_shape, label
        )
        self._lock = threading.Lock()
        self._loaded = None
        self._values = _Recent(lambda x: sum(part.nbytes for part in x))
        self._looks = _Recent(Look.nbytes)
        first = Inputs((0.0,) * self.generator.latent_dim, self.one_class(0))
        self.first = self.look(Weights(self.steps[-1]), first)

    @property
    def steps(self) -> list[int]:
        """Steps that have a checkpoint; more of them while the run trains."""
        return checkpoint_steps(self.folder)

    def one_class(self, number: int) -> tuple[float, ...]:
        """Returns the class weights of images of one class."""
        classes = range(self.generator.num_classes)
        return tuple(float(i == number) for i in classes)

    def look(self, weights: Weights, inputs: Inputs) -> Look:
        """Returns an image and its maps.

        Raises:
            ValueError: If the checkpoint is gone, or cannot be read.
        """
        with self._lock:
            look = self._looks.get((weights, inputs))
            if look is None:
                self.load(weights)
                look = self._compute(inputs)
                self._looks.keep((weights, inputs), look)
            return look

    def load(self, weights: Weights) -> None:
        """Gives both networks the values of a checkpoint; for one thread."""
        if weights == self._loaded:
            return
        self._loaded = None
        variables = self.generator.variables + self.discriminator.variables
        values = self._values.get(weights)
        if values is None:
            ema = weights.average == "ema"
            restore_generator(self.folder, self.generator, weights.step, ema)
            restore_network(
                *(self.folder, self.discriminator, "discriminator"),
                weights.step,
            )
            if weights.statistics == "standing":
                use_standing_moments(self.generator, seed=0)
            self._values.keep(weights, [v.numpy() for v in variables])
        else:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._loaded = weights

    def _compute(self, inputs):
        # The discriminator knows no mixtures of classes.
        label = np.argmax(inputs.classes) if inputs.classes else 0
        label = np.array([label], np.int32)
        classes = np.float32([inputs.classes]) if inputs.classes else label
        images, ours = self._generate(np.float32([inputs.latents]), classes)
        logits, theirs = self._discriminate(images, label)
        blocks = {
            block.name: block
            for network, attended in (
                (self.generator, ours),
                (self.discriminator, theirs),
            )
            for block in block_maps(network, [attended])
        }
        pixels = to_uint8(images[0].numpy())
        return Look(pixels, float(logits[0, 0]), blocks)


def _compile(network, shape, labels):
    return tf.function(
        functools.partial(call_with_attention, network),
        input_signature=[tf.TensorSpec([1, *shape]), labels],
        autograph=False,
    )


class _Recent:
    """Keeps what was used last, up to `_KEPT_BYTES`, and always the newest."""

    def __init__(self, nbytes):
        self.nbytes = nbytes
        self.entries = collections.OrderedDict()

    def get(self, key):
        if key in self.entries:
            self.entries.move_to_end(key)
        return self.entries.get(key)

    def keep(self, key, value):
        self.entries[key] = value
        while (
            len(self.entries) > 1
            and sum(map(self.nbytes, self.entries.values())) > _KEPT_BYTES
        ):
            self.entries.popitem(last=False)
