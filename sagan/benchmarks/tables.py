"""Benchmark results as CSV files: written, compared and drawn."""

import csv
import io
import pathlib

from sagan.benchmarks.timing import Timing
from sagan.checkpoints import write_text

KEYS = ("shape", "dtype", "mode", "pass", "implementation")


def write_table(path, rows: list[dict[str, object]]) -> None:
    """Writes rows, which have the same keys, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                key: f"{value:.4g}" if isinstance(value, float) else value
                for key, value in row.items()
            }
        )
    write_text(path, text.getvalue())


def read_table(path) -> list[dict[str, str]]:
    """Reads what `write_table` wrote; values stay text.

    Raises:
        ValueError: If there is no such file or it is no such table.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"There is no table {path}.")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    missing = {*KEYS, "median", "lower", "upper"} - set(rows[0] if rows else ())
    if missing:
        raise ValueError(
            f"{path} is no table of this benchmark: it has no column "
            f"{', '.join(sorted(missing))}."
        )
    return rows


def compare(before, after) -> list[str]:
    """Compares two tables, line by line of what both have.

    Returns:
        Lines of text: the ratio of the medians, and "tie" where the quartiles
        overlap.
    """
    old = {tuple(row[key] for key in KEYS): row for row in read_table(before)}
    lines = []
    for row in read_table(after):
        key = tuple(row[key] for key in KEYS)
        if key not in old:
            continue
        one, other = _timing(old[key]), _timing(row)
        ratio = one.median / other.median
        verdict = "tie" if one.overlaps(other) else f"{ratio:.2f}x as fast"
        lines.append(f"{' '.join(key):60} {verdict}")
    return lines or ["The tables have no line in common."]


def _timing(row):
    return Timing(*(float(row[key]) for key in ("median", "lower", "upper")), 0)


def draw(path, rows: list[dict[str, object]], title: str) -> None:
    """Draws seconds relative to `conv2d` at each shape, with quartiles.

    One panel for each dtype and pass, in the mode "function" or, without it,
    the first mode there is.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modes = list(dict.fromkeys(row["mode"] for row in rows))
    mode = "function" if "function" in modes else modes[0]
    rows = [row for row in rows if row["mode"] == mode]
    panels = list(dict.fromkeys((row["dtype"], row["pass"]) for row in rows))
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, axes = pyplot.subplots(
        len(panels),
        squeeze=False,
        sharex=True,
        figsize=(1 + 0.8 * len(shapes), 1.5 + 2.5 * len(panels)),
        layout="constrained",
    )
    for axis, (dtype, direction) in zip(axes[:, 0], panels, strict=True):
        panel = [
            r for r in rows if (r["dtype"], r["pass"]) == (dtype, direction)
        ]
        _draw_panel(axis, panel, shapes)
        axis.set_title(f"{dtype}, {direction}", fontsize=9)
    axes[0, 0].legend(fontsize=7, ncols=4)
    axes[-1, 0].set_xticks(range(len(shapes)), shapes, rotation=60, fontsize=7)
    figure.suptitle(f"{title}\nseconds / seconds of conv2d, mode {mode}")
    partial = pathlib.Path(path).with_suffix(".partial.png")
    figure.savefig(partial, dpi=90)
    pyplot.close(figure)
    partial.replace(path)


def _draw_panel(axis, rows, shapes):
    base = {
        row["shape"]: row["median"]
        for row in rows
        if row["implementation"] == "conv2d"
    }
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    for i, name in enumerate(names):
        mine = [row for row in rows if row["implementation"] == name]
        mine = [row for row in mine if row["shape"] in base]
        unit = [base[row["shape"]] for row in mine]
        middle = [r["median"] / u for r, u in zip(mine, unit, strict=True)]
        spread = [
            [
                (r["median"] - r["lower"]) / u
                for r, u in zip(mine, unit, strict=True)
            ],
            [
                (r["upper"] - r["median"]) / u
                for r, u in zip(mine, unit, strict=True)
            ],
        ]
        offset = 0.7 * (i + 0.5) / len(names) - 0.35
        places = [shapes.index(row["shape"]) + offset for row in mine]
        axis.errorbar(places, middle, spread, fmt=".", markersize=4, label=name)
    axis.axhline(1.0, color="grey", linewidth=0.5)
    axis.set_yscale("log")
