"""The function that is exported, and the arrays that prove an export."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from sagan.config import CONFIG_FILE

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Options:
    """What is exported, and how. A classifier has only the first two.

    Attributes:
        precision: What weights are stored in, one of the format's.
        batch: Size of the batch; None for any.
        step: "last", "best" (of those scored in training) or a step.
        ema: Whether to take the moving average of the weights.
        statistics: "moving" or "standing" statistics of batch norm.
        attention: Whether to return the maps of all attention blocks too.
        pixels: Dtype of the images: "float32", in [-1, 1], or "uint8".
        label: Name or number of the only class to generate, which leaves no
            labels to give; None for labels as an input.
    """

    precision: str = "float32"
    batch: int | None = None
    step: str = "last"
    ema: bool = True
    statistics: str = "moving"
    attention: bool = False
    pixels: str = "float32"
    label: str | None = None


@dataclasses.dataclass(frozen=True)
class Program:
    """A network as a function from named arrays to named arrays.

    Attributes:
        compute: Function from tensors to tensors by name; it takes the inputs
            as keyword arguments.
        batch: Size of the batch; None for any.
        examples: Inputs to prove the export with, by name, each `[n, ...]`.
        expected: What the checkpoint returns for them, by name.
        calibration: Other inputs, from which int8 takes the ranges of
            activations; none for a network without int8.
        meanings: What the values of each input and output mean, by name.
        record: Where the network comes from, as JSON values.
        labels: Classes of the examples, `[n]`, if there are logits to be
            right or wrong.
    """

    compute: Callable[..., dict[str, tf.Tensor]]
    batch: int | None
    examples: Arrays
    expected: Arrays
    calibration: Arrays
    meanings: dict[str, str]
    record: dict[str, object]
    labels: np.ndarray | None = None

    def function(self) -> tf.types.experimental.PolymorphicFunction:
        """Returns `compute` as a function of one signature."""
        specs = [
            tf.TensorSpec([self.batch, *array.shape[1:]], array.dtype, name)
            for name, array in self.examples.items()
        ]
        return tf.function(
            lambda *inputs: self.compute(
                **dict(zip(self.examples, inputs, strict=True))
            ),
            input_signature=specs,
            autograph=False,
        )

    def describe(self, arrays: Arrays) -> dict[str, dict[str, object]]:
        """Returns shape, dtype and meaning of `examples` or `expected`."""
        batch = "any" if self.batch is None else self.batch
        return {
            name: {
                "shape": [batch, *array.shape[1:]],
                "dtype": str(array.dtype),
                "values": self.meanings[name],
            }
            for name, array in arrays.items()
        }


def recorded_config(workdir, bindings) -> dict[str, object]:
    """Returns the config that a network was trained with, for its record.

    Args:
        workdir: Folder of a run or of a classifier.
        bindings: What overrode it for the export.
    """
    text = (pathlib.Path(workdir) / CONFIG_FILE).read_text()
    return {"config": text, "bindings": list(bindings)}


def in_batches(arrays: Arrays, size: int) -> Iterator[Arrays]:
    """Yields parts of `size` rows, the last one filled up with its last row."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield {name: array[rows] for name, array in arrays.items()}


def call_in_batches(call: Callable, arrays: Arrays, size: int) -> Arrays:
    """Returns what a function returns for all rows, `size` rows a call.

    Args:
        call: Function from arrays to arrays or tensors, by name.
        arrays: Its inputs, by name, each `[n, ...]`.
        size: Rows per call.
    """
    count = len(next(iter(arrays.values())))
    parts = [call(part) for part in in_batches(arrays, size)]
    return {
        name: np.concatenate([np.asarray(part[name]) for part in parts])[:count]
        for name in parts[0]
    }
