"""Tables of measurements as CSV, and two of them compared."""

import csv
import io
import pathlib
import statistics

from sagan.profiling.timing import Timing
from sagan.runs.files import write_text

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
    """Reads a table of the pointwise benchmark; values stay text.

    Raises:
        ValueError: If the file is missing or is no such table.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"There is no table {path}.")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    missing = {*KEYS, "device", "median", "lower", "upper"} - set(
        reader.fieldnames or ()
    )
    if missing:
        raise ValueError(
            f"{path} is no table of this benchmark: it has no column "
            f"{', '.join(sorted(missing))}."
        )
    for number, row in enumerate(rows, start=2):
        if None in row.values():
            raise ValueError(f"{path}, line {number}, is not whole.")
    return rows


def compare(before, after) -> list[str]:
    """Compares the rows that two tables of the pointwise benchmark share.

    Returns:
        Lines of text: how many times as fast `after` is as `before`, and "tie"
        where the quartiles overlap; then the median of all ratios, the number
        of rows in one table only, and the devices if they differ.
    """
    old, new = (
        {tuple(row[key] for key in KEYS): row for row in read_table(path)}
        for path in (before, after)
    )
    lines, ratios = [], []
    for key in new.keys() & old.keys():
        one, other = _timing(old[key]), _timing(new[key])
        ratio = one.median / other.median
        ratios.append(ratio)
        verdict = "tie" if one.overlaps(other) else f"{ratio:.2f}x as fast"
        lines.append(f"{' '.join(key):60} {verdict}")
    head = f"{after} against {before}: above 1, the first is faster"
    lines = [head, *sorted(lines)]
    if ratios:
        lines.append(
            f"Median of all {len(ratios)} ratios: "
            f"{statistics.median(ratios):.2f}. A factor that all share is the "
            "machine's."
        )
    if alone := len(new.keys() ^ old.keys()):
        lines.append(f"{alone} lines are in one of the tables only.")
    devices = {row["device"] for row in (*old.values(), *new.values())}
    if len(devices) > 1:
        lines.append(f"They are of several devices: {', '.join(devices)}.")
    return lines


def _timing(row):
    return Timing(*(float(row[key]) for key in ("median", "lower", "upper")), 0)
