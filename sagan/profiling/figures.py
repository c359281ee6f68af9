"""Figures of the benchmarks."""

import pathlib

from matplotlib.figure import Figure


def draw_pointwise(path, rows: list[dict[str, object]], title: str) -> None:
    """Draws seconds relative to one implementation at each shape.

    That is `conv2d`, or without it the first one. One panel for each dtype,
    mode and pass; bars are quartiles.
    """
    panels = {}
    for row in rows:
        panel = ", ".join((row["dtype"], row["mode"], row["pass"]))
        panels.setdefault(panel, []).append(row)
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    unit = "conv2d" if "conv2d" in names else names[0]
    figure = Figure(
        figsize=(2 + 0.8 * len(shapes), 1.5 + 2.2 * len(panels)),
        layout="constrained",
    )
    axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
    for axis, (panel, mine) in zip(axes, panels.items(), strict=True):
        _draw_panel(axis, mine, shapes, names, unit)
        axis.set_title(panel, fontsize=9)
    axes[0].legend(fontsize=7, ncols=4)
    axes[-1].set_xticks(range(len(shapes)), shapes, rotation=60, fontsize=7)
    figure.suptitle(f"{title}\nseconds / seconds of {unit}")
    _save(figure, path)


def _draw_panel(axis, rows, shapes, names, unit):
    base = {
        r["shape"]: r["median"] for r in rows if r["implementation"] == unit
    }
    for i, name in enumerate(names):
        mine = [row for row in rows if row["implementation"] == name]
        offset = 0.7 * (i + 0.5) / len(names) - 0.35
        axis.errorbar(
            [shapes.index(row["shape"]) + offset for row in mine],
            [row["median"] / base[row["shape"]] for row in mine],
            [
                [(r["median"] - r["lower"]) / base[r["shape"]] for r in mine],
                [(r["upper"] - r["median"]) / base[r["shape"]] for r in mine],
            ],
            fmt=".",
            markersize=4,
            label=name,
        )
    axis.axhline(1.0, color="grey", linewidth=0.5)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter("{x:g}")
    axis.tick_params(axis="y", which="both", labelsize=6)


def draw_step(path, timings, seconds, title: str) -> None:
    """Draws the seconds of each call, and of the parts of a step.

    Args:
        path: Path of the PNG file.
        timings: `Timing` by form and call.
        seconds: By form, `PartSeconds` by part.
        title: Title of the figure.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    calls = list(dict.fromkeys(call for _, call in timings))
    parts = list(
        dict.fromkeys(part for form in seconds.values() for part in form)
    )
    for i, form in enumerate(seconds):
        mine = {call: t for (f, call), t in timings.items() if f == form}
        left.bar(
            [calls.index(call) + 0.4 * i for call in mine],
            [t.median for t in mine.values()],
            0.38,
            yerr=[
                [t.median - t.lower for t in mine.values()],
                [t.upper - t.median for t in mine.values()],
            ],
            label=form,
        )
        right.barh(
            [parts.index(part) + 0.4 * i for part in seconds[form]],
            [part.total for part in seconds[form].values()],
            0.38,
        )
    left.set_xticks(range(len(calls)), calls)
    left.set_ylabel("seconds")
    left.legend()
    right.set_yticks(range(len(parts)), parts, fontsize=8)
    right.set_xlabel("seconds of operations in a step, all threads")
    right.invert_yaxis()
    figure.suptitle(title)
    _save(figure, path)


def _save(figure, path):
    """Writes the whole file or nothing."""
    path = pathlib.Path(path)
    partial = path.with_suffix(".partial.png")
    figure.savefig(partial, dpi=90)
    partial.replace(path)
