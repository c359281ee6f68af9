"""Plots of a report: learning curves, drift and sample grids."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from experiments.results import LOSSES, STATES, Result, drifts

PANEL_INCHES = (4.2, 2.8)
DOTS_PER_INCH = 90
# In pixels. Wider grids are reduced, so that a report stays a small file.
LARGEST_GRID = 400
LABEL_HEIGHT = 18

Arms = Mapping[str, Sequence[Result]]


def save_curves(path, arms: Arms) -> None:
    """Draws losses and `STATES`: mean over seeds, band one deviation.

    Args:
        path: PNG file to write.
        arms: Results by arm.
    """
    names = {n for runs in arms.values() for r in runs for n in _names(r)}
    names = [
        *LOSSES,
        *(name for part in STATES for name in sorted(names) if part in name),
    ]
    figure, panels = _panels(len(names))
    for panel, name in zip(panels, names, strict=True):
        for i, (arm, runs) in enumerate(arms.items()):
            steps, mean, deviation = _over_seeds(
                [run.series(name) for run in runs]
            )
            if not len(steps):
                continue
            panel.plot(steps, mean, f"C{i}", label=arm, linewidth=1)
            panel.fill_between(
                steps,
                mean - deviation,
                mean + deviation,
                color=f"C{i}",
                alpha=0.15,
                linewidth=0,
            )
        panel.set_title(name)
        panel.set_xlabel("step")
    _save(figure, panels[0], path)


def save_drift(path, arms: Arms, baseline: str) -> None:
    """Draws the drift of each arm from the baseline, median over seeds.

    Steps at which an arm equals the baseline have no place on the log axis
    and are left out.
    """
    figure, (panel,) = _panels(1)
    for i, (arm, runs) in enumerate(arms.items()):
        if arm == baseline:
            continue
        series = drifts(runs, arms.get(baseline, ()))
        steps = sorted({step for one in series for step in one})
        if not steps:
            continue
        values = [
            np.median([one[step] for one in series if step in one])
            for step in steps
        ]
        values = [value or math.nan for value in values]
        style = ":" if all(map(math.isnan, values)) else "-"
        label = f"{arm} (equal)" if style == ":" else arm
        panel.plot(steps, values, f"C{i}{style}", label=label, linewidth=1)
    panel.set_yscale("log")
    panel.set_title(f"|d_loss - d_loss of {baseline}|")
    panel.set_xlabel("step")
    _save(figure, panel, path)


def save_samples(path, arms: Arms) -> bool:
    """Puts the newest grid of each arm's first seed side by side.

    All runs draw the same latents.

    Returns:
        Whether any run has a grid.
    """
    grids = {}
    for arm, runs in arms.items():
        for run in sorted(runs, key=lambda run: run.seed)[:1]:
            files = sorted(run.folder.glob("samples/step_*_ema.png"))
            if files:
                step = int(files[-1].stem.split("_")[1])
                grids[f"{arm}, step {step}"] = _open(files[-1])
    if grids:
        # A palette makes the file a third of the size.
        _side_by_side(grids).quantize(256).save(path)
    return bool(grids)


def _side_by_side(grids, gap=8):
    width = max(grid.width for grid in grids.values()) + gap
    height = max(grid.height for grid in grids.values()) + gap + LABEL_HEIGHT
    columns = math.ceil(math.sqrt(len(grids)))
    rows = math.ceil(len(grids) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, grid) in enumerate(grids.items()):
        left, top = i % columns * width, i // columns * height
        draw.text((left + 2, top + 2), label, fill="black")
        sheet.paste(grid, (left, top + LABEL_HEIGHT))
    return sheet


def _open(path):
    with Image.open(path) as image:
        image = image.convert("RGB")
    return image.reduce(-(-image.width // LARGEST_GRID))


def _over_seeds(series):
    """Returns steps, and mean and deviation at each over those that have it."""
    steps = sorted({step for one in series for step in one})
    values = [[one[step] for one in series if step in one] for step in steps]
    return (
        steps,
        np.array([np.mean(v) for v in values]),
        np.array([np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values]),
    )


def _names(result):
    return {name for line in result.lines for name in line}


def _panels(count):
    columns = min(count, 2)
    rows = -(-count // columns)
    width, height = PANEL_INCHES
    # The last column is for the legend.
    figure = Figure((columns * width + 1.8, rows * height))
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in axes[count:]:
        unused.axis("off")
    return figure, axes[:count]


def _save(figure, panel, path):
    handles, labels = panel.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0, 1 - 1.8 / figure.get_figwidth(), 1))
    figure.legend(handles, labels, loc="center right", fontsize="small")
    figure.savefig(path, dpi=DOTS_PER_INCH)
