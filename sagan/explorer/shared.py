"""A run as one HTML file: its generator, its maps, and how it was trained."""

import base64
import gzip
import hashlib
import pathlib

import numpy as np
from absl import logging

from sagan.evaluation.attention import look
from sagan.explorer.card import describe_run, to_json
from sagan.explorer.limits import limits_of_maps
from sagan.explorer.live import pack_generator
from sagan.explorer.nearest import NEIGHBOURS, Nearest, describe_search
from sagan.explorer.networks import Inputs, Run, Weights
from sagan.explorer.server import read_page_file
from sagan.exporting.generators import PLAIN
from sagan.latents import closed_path, fixed_inputs, generate
from sagan.runs.files import write_text
from sagan.runs.sample_grids import grid_shape, make_grid, to_png

# Bytes of the file: at 32 pixels, and above.
_MOST = 12_000_000, 25_000_000
_SAMPLES = 64
# Images from which the numbers of the maps are averages.
_AVERAGED = 16
# Checkpoints of which pictures are drawn.
_STEPS = 12
_FOLLOWED = 6
# Images of a path, from one of those latents to the next.
_PATH = 12
# Pixels of a picture: the page shows 540, on a dense screen twice as many.
_WIDEST = 1080
# Samples whose nearest real images are shown.
_COMPARED = 10
# Points of a map that are computed in advance, in each direction.
_POINTS = 16


def write_page(workdir, bindings, out, data_dir=None) -> str:
    """Writes a run as a file that needs no server.

    Args:
        workdir: Folder of the run.
        bindings: Override its config, as in `sagan.config.parse_config`.
        out: HTML file to write.
        data_dir: Folder of TFDS datasets, for nearest real images; None for
            the TFDS default.

    Returns:
        A description of the file.

    Raises:
        ValueError: If it is no run, or `out` is no name of an HTML file.
    """
    out = pathlib.Path(out)
    if out.suffix != ".html" or out.is_dir():
        raise ValueError(f"--out={out} must be the name of an .html file.")
    run = Run(workdir, [*bindings, *PLAIN])
    shared = describe_run(run) | _describe_steps(run)
    shared["limits"] += limits_of_maps(shared["numbers"].values())
    _add_nearest(shared, run, Nearest(workdir, bindings, data_dir))
    shared["steps"] = run.steps[-1:]
    most = _MOST[run.generator.image_shape[0] > 32]
    room = most - len(assemble(shared))
    samples = _pack_samples(run, room)
    try:
        shared["live"] = pack_generator(run.generator, room)
        what = f"its generator in {shared['live']['precision']}"
    except ValueError as error:
        logging.warning("Without the generator itself: %s", error)
        shared |= samples
        what = f"{samples['samples']['count']} samples with their maps"
    text = assemble(shared)
    write_text(out, text)
    return f"Wrote {out}: {what}, {len(text) / 1e6:.1f} MB."


def assemble(shared: dict[str, object]) -> str:
    """Returns the page with its style, its script and values in it."""
    style, script = (read_page_file(f"page.{x}") for x in ("css", "js"))
    # Nothing in the values may end the element that holds them.
    values = to_json(shared).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; img-src data: blob:; "
        f"script-src {_hash(script)} 'wasm-unsafe-eval' data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = read_page_file("page.html")
    for old, new in (
        (
            '<link rel="stylesheet" href="page.css">',
            '<meta http-equiv="Content-Security-Policy" '
            f'content="{policy}">\n<style>{style}</style>',
        ),
        ('<script src="page.js" defer></script>\n', ""),
        (
            "</body>",
            f'<script type="application/json" id="shared">{values}</script>\n'
            f"<script>{script}</script>\n</body>",
        ),
    ):
        page = page.replace(old, new)
    return page


def _hash(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _describe_steps(run):
    """Returns pictures, and the numbers of the maps, by step."""
    chosen = np.linspace(0, len(run.steps) - 1, min(_STEPS, len(run.steps)))
    steps = [run.steps[round(i)] for i in chosen]
    classes = max(1, run.generator.num_classes)
    number, columns = grid_shape(None, None, classes)
    samples = _draw(run, run.steps[-1:], number, columns)
    title = f"Samples, step {run.steps[-1]}, a class a row"
    if number < classes:
        title += f": {number} of {classes} classes"
    pictures = [
        _picture(title, samples, columns),
        _picture(
            "The same latents over the checkpoints: steps "
            + ", ".join(map(str, steps)),
            _draw(run, steps, _FOLLOWED),
            len(steps),
        ),
        _picture(
            "Interpolations: latents from the first image of each row to that "
            "of the next, and back to the first",
            _draw_path(run),
            _PATH,
        ),
    ]
    if not run.first.blocks:
        return {"pictures": pictures, "numbers": {}, "attention": []}
    inputs = fixed_inputs(run.generator, _AVERAGED, columns=1)
    rows = []
    for step in steps:
        run.load(Weights(step))
        rows += look(run.generator, run.discriminator, step, inputs).numbers()
    return {
        "pictures": pictures,
        "numbers": {row["block"]: row for row in rows},
        "averaged": _AVERAGED,
        "attention": _table(rows),
    }


def _draw(run, steps, count, columns=1):
    """Returns images of `count` latents, each at all steps, in [-1, 1]."""
    latents, labels = fixed_inputs(run.generator, count, columns=columns)
    pixels = [
        run.look(Weights(step), _inputs(run, z, label)).pixels
        for z, label in zip(latents.numpy(), labels.numpy(), strict=True)
        for step in steps
    ]
    return np.stack(pixels) / 127.5 - 1.0


def _draw_path(run):
    """Returns images between some latents and classes, in [-1, 1]."""
    run.load(Weights(run.steps[-1]))
    inputs = fixed_inputs(run.generator, _FOLLOWED, columns=1)
    path = closed_path(*inputs, run.generator.num_classes, _PATH)
    return generate(run.generator, *path)


def _add_nearest(shared, run, nearest):
    """Adds samples with their nearest real images, or why there are none."""
    logging.info("Looking for data and features, for nearest real images.")
    if nearest.prepare() is None:
        reason, _, _ = nearest.problem.partition(". ")  # Without the remedy.
        shared["limits"].append(
            "Whether it copies images that it was trained on was not looked "
            f"into: {reason}"
        )
        return
    images = _draw(run, run.steps[-1:], _COMPARED)
    found = nearest.real.nearest(images, NEIGHBOURS)
    title = (
        f"Samples, left, and their {NEIGHBOURS} nearest real images "
        f"{describe_search(nearest.real)}; {found}"
    )
    shared["pictures"].append(_encode(title, found.picture(images)))


def _inputs(run, latents, label):
    return Inputs(tuple(latents.tolist()), run.one_class(label))


def _picture(title, images, columns):
    return _encode(title, make_grid(images, columns))


def _encode(title, pixels):
    """Returns a picture for the page, no larger than a screen shows it."""
    height, width, channels = pixels.shape
    k = -(-width // _WIDEST)
    parts = pixels[: height // k * k, : width // k * k]
    parts = parts.reshape(height // k, k, width // k, k, channels)
    shrunk = np.rint(parts.mean((1, 3))).astype(np.uint8)
    return {"title": title, "png": base64.b64encode(to_png(shrunk)).decode()}


def _table(rows):
    names = ["gamma", "change", "distance", "entropy", "far", "largest"]
    names.append("distinct")
    lines = ["    step  block" + " " * 23 + "".join(f"{x:>10}" for x in names)]
    for row in rows:
        values = "".join(f"{row[name]:10.3f}" for name in names)
        lines.append(f"{row['step']:8}  {row['block']:28}{values}")
    return lines


def _pack_samples(run, most):
    """Returns samples with the maps of some points, as many as there is room.

    A map is the largest weight, in float32, and all others as a share of it in
    eight bits.
    """
    inputs = fixed_inputs(run.generator, _SAMPLES, columns=1)
    drawn, size = [], 0
    for latents, label in zip(*(x.numpy() for x in inputs), strict=True):
        given = _inputs(run, latents, label)
        sample = _pack_sample(run.look(Weights(run.steps[-1]), given))
        size += sum(map(len, sample.values()))
        if size > most:
            break
        drawn.append(sample | {"class": int(label)})
    return {"samples": {"count": len(drawn), "points": _POINTS, "all": drawn}}


def _pack_sample(seen):
    packed = {"png": base64.b64encode(to_png(seen.pixels)).decode()}
    for name, block in seen.blocks.items():
        side = block.size[0]
        stride = max(1, side // _POINTS)
        maps = block.maps[0].reshape(side, side, -1)[::stride, ::stride]
        maps = maps.reshape(-1, maps.shape[-1])
        largest = maps.max(-1, keepdims=True).astype("<f4")
        shares = np.rint(255 * maps / largest).astype(np.uint8)
        data = np.concatenate([largest.view(np.uint8), shares], axis=1)
        packed[name] = base64.b64encode(gzip.compress(data.tobytes())).decode()
    return packed
