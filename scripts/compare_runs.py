"""Compares two runs bitwise: weights, losses and grids.

  python scripts/compare_runs.py runs/whole runs/resumed

Compares every variable of the newest checkpoints, and the losses and grids of
the first run; the second may have more, of where it was stopped. The exit
status is 1 if anything differs.
"""

import pathlib
import sys

from absl import app

from sagan.cli import start_tensorflow

_SHOWN = 20
_LOSSES = ("d_loss", "g_loss")


def main(argv):
    if len(argv) != 3:
        raise app.UsageError("Expected two folders of runs.")
    start_tensorflow()
    from sagan.runs.checkpoints import checkpoint_steps

    one, other = map(pathlib.Path, argv[1:])
    for run in (one, other):
        if not checkpoint_steps(run / "checkpoints"):
            sys.exit(f"Error: there is no checkpoint in {run}/checkpoints.")
    at, other_at = (
        checkpoint_steps(run / "checkpoints")[-1] for run in (one, other)
    )
    if at != other_at:
        sys.exit(f"{one} is at step {at}, and {other} at step {other_at}.")
    found = differences(one, other)
    for line in found[:_SHOWN]:
        print(f"differs: {line}")
    if found[_SHOWN:]:
        print(f"and {len(found) - _SHOWN} more")
    if not found:
        print("Bitwise equal.")
    sys.exit(1 if found else 0)


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """Returns what differs between two runs, by name."""
    from sagan.runs.checkpoints import read_checkpoint
    from sagan.runs.logs import read_metrics

    ours, theirs = (
        read_checkpoint(run / "checkpoints") for run in (one, other)
    )
    found = [
        f"variable {name}"
        for name in sorted(ours.keys() | theirs.keys())
        if name not in ours
        or name not in theirs
        or not _same(ours[name], theirs[name])
    ]
    losses, others = (
        {line["step"]: [line[name] for name in _LOSSES] for line in lines}
        for lines in (read_metrics(one), read_metrics(other))
    )
    found += [
        f"losses of step {step}"
        for step, values in losses.items()
        if others.get(step) != values
    ]
    for grid in sorted(one.glob("samples/*.png")):
        path = other / "samples" / grid.name
        if not path.exists() or path.read_bytes() != grid.read_bytes():
            found.append(f"grid {grid.name}")
    return found


def _same(one, other):
    # Of arrays the bytes, as NaN differs from itself.
    return (one.dtype, one.shape, one.tobytes()) == (
        other.dtype,
        other.shape,
        other.tobytes(),
    )


if __name__ == "__main__":
    app.run(main)
