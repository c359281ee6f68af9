"""Proves an export: how far it is from the checkpoint, and how fast."""

import numpy as np

from sagan.exporting.program import Program, call_in_batches, in_batches
from sagan.profiling.timing import time_in_turn

# Largest difference from the checkpoint, and mean difference of the example
# that is farthest off, as a share of the largest magnitude of the output if
# that is above 1: about three times those of exports that are right. In float32
# they are rounding errors in another order, in float16 those of the weights.
# With activations of 8 bits single pixels change at will, and the mean decides.
TOLERANCES = {
    "float32": (2e-5, 2e-6),
    "float16": (3e-2, 3e-3),
    "int8": (2.0, 0.2),
}
# For attention maps, a difference is the share of a query's weight that is at
# other keys, whatever their number. Maps of 8 bits are rough: three times
# theirs would allow those of other latents.
MAP_TOLERANCES = {
    "float32": (1e-5, 2e-6),
    "float16": (2e-2, 3e-3),
    "int8": (1.0, 0.4),
}
_BATCH_SIZE = 32
# Levels of a pixel per unit: [-1, 1] is 0..255.
_LEVELS = 127.5
# Share of the pixels of an image that may be rounded to the next level.
_ROUNDED = 0.01
_WORDS = {
    "largest": "largest difference",
    "worst": "mean difference in the worst example",
}


def compare(program: Program, call, precision: str) -> dict[str, object]:
    """Compares an export with the checkpoint on the program's examples.

    Args:
        program: What was exported.
        call: The export as a function of arrays by name.
        precision: Key of `TOLERANCES`.

    Returns:
        "examples", their number; "differences" by output, each "largest",
        "mean", mean of the "worst" example, and what is tolerated; and the
        "accuracy" of both if there are labels.

    Raises:
        ValueError: If a difference is not tolerated.
    """
    size = program.batch or _BATCH_SIZE
    found = call_in_batches(call, program.examples, size)
    differences = {
        name: _difference(name, found[name], expected, precision)
        for name, expected in program.expected.items()
    }
    for name, values in differences.items():
        for which in ("largest", "worst"):
            value, most = values[which], values[f"{which}_tolerated"]
            if not value <= most:
                raise ValueError(
                    f"The {_WORDS[which]} of {name} from those of the "
                    f"checkpoint is {value:.2g}, and {precision} must stay "
                    f"within {most:.2g}: nothing was written. Export it in a "
                    "higher precision or another format."
                )
    results = {
        "examples": len(next(iter(found.values()))),
        "differences": differences,
    }
    if program.labels is not None:
        results["accuracy"] = {
            which: float(
                np.mean(outputs["logits"].argmax(-1) == program.labels)
            )
            for which, outputs in (
                ("checkpoint", program.expected),
                ("export", found),
            )
        }
    return results


def _difference(name, found, expected, precision):
    """Returns the differences of an output, and those tolerated."""
    if found.shape != expected.shape:
        raise ValueError(
            f"The export's {name} is {found.shape}, the checkpoint's "
            f"{expected.shape}: nothing was written."
        )
    values = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    largest, worst = TOLERANCES[precision]
    if name.startswith("attention"):
        largest, worst = MAP_TOLERANCES[precision]
        values = values.sum(-1) / 2  # [examples, queries]
    elif expected.dtype == np.uint8:
        # A value between two levels may be rounded to either.
        largest, worst = largest * _LEVELS + 1.0, worst * _LEVELS + _ROUNDED
    else:
        scale = max(1.0, float(np.abs(expected).max()))
        largest, worst = largest * scale, worst * scale
    return {
        "largest": float(values.max()),
        "mean": float(values.mean()),
        "worst": float(values.reshape(len(values), -1).mean(1).max()),
        "largest_tolerated": largest,
        "worst_tolerated": worst,
    }


def time_beside_tensorflow(program: Program, call) -> dict[str, float]:
    """Returns milliseconds an example, beside TensorFlow in this process."""
    size = program.batch or 1
    inputs = next(in_batches(program.examples, size))
    function = program.function()
    timings = time_in_turn(
        {
            "export": lambda: call(inputs),
            "tensorflow": lambda: function(*inputs.values()),
        },
        budget=10.0,
    )
    return {
        name: round(1e3 * timing.median / size, 3)
        for name, timing in timings.items()
    } | {"batch": size}
