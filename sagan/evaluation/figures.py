"""The picture of what the number of samples does to scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from sagan.metrics.fid import feature_frechet_distance
from sagan.metrics.kid import kernel_distance


def draw_by_samples(
    path, first: np.ndarray, second: np.ndarray, sizes: Sequence[int]
) -> list[tuple[int, float, float]]:
    """Draws FID and KID of part of one set against all of another.

    Args:
        path: Of the PNG file.
        first: Features of which the first are taken, `[samples, features]`.
        second: Features of which all are taken.
        sizes: How many of `first`, from few to many.

    Returns:
        Size, FID and KID of each point.
    """
    rows = []
    for size in sizes:
        part = first[:size]
        fid = feature_frechet_distance(second, part)
        kid, _ = kernel_distance(second, part, num_subsets=20)
        rows.append((int(size), fid, kid))
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axis, name, column in zip(panels, ("FID", "KID"), (1, 2), strict=True):
        axis.plot(sizes, [row[column] for row in rows], marker=".")
        axis.set_xscale("log")
        axis.set_xlabel("samples")
        axis.set_ylabel(name)
    panels[0].set_yscale("log")
    panels[1].axhline(0.0, color="grey", linewidth=0.5)
    figure.suptitle("Real images against other real images")
    figure.savefig(path, dpi=90)
    return rows
