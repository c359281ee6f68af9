"""Reads the query strings of the page's requests, trusting nothing."""

import base64
import binascii
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from sagan.explorer.networks import STATISTICS, WEIGHTS, Inputs, Run, Weights

# No normal latent comes near it, nor sliders on top of one.
_LARGEST_LATENT = 100.0
_VIEW = ("run", "step", "weights", "statistics", "latents", "classes")
_POINT = ("block", "query")
# Plain decimal digits; int() takes more.
_NUMBER = re.compile(r"[0-9]{1,12}")
_WEIGHT = re.compile(r"[0-9]{1,6}:[01](\.[0-9]{1,9})?")


class BadQueryError(ValueError):
    """A query string that the page would not send."""


def read_view(
    query: Mapping[str, Sequence[str]],
    runs: Sequence[Run],
    more: Sequence[str] = (),
) -> tuple[Run, Weights, Inputs]:
    """Reads which image a request is about.

    Args:
        query: Values by name; a name may have several, and so be refused.
        runs: The runs that `run` counts.
        more: Further names that the query has.

    Raises:
        BadQueryError: If a name is missing, repeated or unknown, or a value is
            not one of the run's.
    """
    expected = [*_VIEW, *more]
    if sorted(query) != sorted(expected) or any(
        len(values) != 1 for values in query.values()
    ):
        raise BadQueryError(f"Expected each once: {', '.join(expected)}.")
    values = {name: query[name][0] for name in expected}
    run = runs[_number(values, "run", range(len(runs)))]
    weights = Weights(
        _number(values, "step", run.steps),
        _choice(values, "weights", WEIGHTS),
        _choice(values, "statistics", STATISTICS),
    )
    inputs = Inputs(
        _latents(values["latents"], run.generator.latent_dim),
        _classes(values["classes"], run.generator.num_classes),
    )
    return run, weights, inputs


def read_point(
    query: Mapping[str, Sequence[str]], runs: Sequence[Run]
) -> tuple[Run, Weights, Inputs, str, int]:
    """Reads which map a request is about: also of which block and query.

    Raises:
        BadQueryError: See `read_view`.
    """
    view = read_view(query, runs, _POINT)
    values = {name: query[name][0] for name in _POINT}
    blocks = view[0].first.blocks
    block = _choice(values, "block", blocks)
    queries = range(blocks[block].maps.shape[1])
    return *view, block, _number(values, "query", queries)


def _choice(values, name, known):
    if values[name] not in known:
        raise BadQueryError(f"{name}: expected one of {', '.join(known)}.")
    return values[name]


def _number(values, name, known):
    text = values[name]
    if not _NUMBER.fullmatch(text) or int(text) not in known:
        if isinstance(known, range):
            known = [f"0 to {len(known) - 1}"]
        raise BadQueryError(
            f"{name}: expected one of {', '.join(map(str, known))}."
        )
    return int(text)


def _latents(text, count):
    """Reads float32 values, little-endian, in base64 for URLs."""
    try:
        data = base64.b64decode(text, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        data = b""
    latents = np.frombuffer(data if len(data) == 4 * count else b"", "<f4")
    if len(latents) != count or not np.all(np.abs(latents) <= _LARGEST_LATENT):
        raise BadQueryError(
            f"latents: expected {count} float32 values of at most "
            f"{_LARGEST_LATENT:.0f} in base64."
        )
    return tuple(latents.tolist())


def _classes(text, count):
    """Reads `CLASS:WEIGHT,CLASS:WEIGHT`, whose weights sum to one."""
    weights = [0.0] * count
    for part in text.split(",") if text else ():
        number, _, weight = part.partition(":")
        if not _WEIGHT.fullmatch(part) or int(number) >= count:
            break
        weights[int(number)] += float(weight)
    else:
        if math.isclose(sum(weights), min(1, count), abs_tol=1e-3):
            return tuple(weights)
    raise BadQueryError(
        "classes: expected "
        + (f"CLASS:WEIGHT,... of {count} classes, sum 1." if count else "none.")
    )
