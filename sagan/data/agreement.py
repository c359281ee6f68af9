"""Agreement of the two halves of synthetic images, the long-range rule.

Computed from pixels, without a network or fitting. A shape is where a half is
most coloured; its kind is the one whose outline, drawn with the same area and
centre, overlaps it best; its colour is the nearest hue of the palette.
"""

import math

import numpy as np

from sagan.data.synthetic import KINDS, PALETTE, shape_masks

# Overlap (intersection over union) below which nothing is recognised. Blurred
# shapes reach about 0.8, two shapes or a ragged one stay below 0.7.
_SMALLEST_OVERLAP = 0.72

# Chroma of the most coloured pixels below which a half is blank; 190 is ideal.
_SMALLEST_CHROMA = 60.0

# Cosine between a colour and its palette entry: 25 of the 30 degrees to the
# border with the next hue.
_SMALLEST_COSINE = 0.906
_CHUNK = 512


def agreement(images) -> dict[str, float]:
    """Measures how often the halves of images show the same kind and colour.

    Args:
        images: `[n, size, size, 3]`, float in `[-1, 1]` or uint8, from the
            synthetic set or a generator trained on it. An image with a value
            that is not finite counts as empty.

    Returns:
        Fractions of all images: `both_found` (each half has a recognisable
        shape), and of those also `kind` (same kind), `colour` (same colour)
        and `agreement` (both). The last three also as fractions of the images
        in which both were found: `kind_if_found`, `colour_if_found`,
        `agreement_if_found`; NaN if there are none. And `colour_bits`, the
        mutual information of the colours of both halves where both are found,
        in bits: log2(6) = 2.58 for the synthetic sets, and about 0, sometimes
        below, for independent halves and for a generator that has collapsed
        to one colour, whose halves always agree. The bias of the estimate is
        corrected as in Miller (1955).

        Independent halves reach, if found, with uniform kinds and colours:
        kind 1/4, colour 1/6, agreement 1/24; with a label that tells the kind,
        as in "synthetic", kind 1, colour and agreement 1/6. `shuffle_halves`
        gives the rate for other images, such as those of a generator that
        prefers a colour.

    Raises:
        ValueError: If the images are not square RGB images, or there are none.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(
            "agreement needs RGB images of shape [n, size, size, 3], got "
            f"{list(images.shape)}."
        )
    half = images.shape[2] // 2
    parts, pairs = [], np.zeros([len(PALETTE)] * 2)
    for start in range(0, len(images), _CHUNK):
        chunk = _to_pixels(images[start : start + _CHUNK])
        left = _recognise(chunk[:, :, :half])
        right = _recognise(chunk[:, :, -half:])
        both = (left[0] >= 0) & (right[0] >= 0)
        kind = both & (left[0] == right[0])
        colour = both & (left[1] == right[1])
        parts.append(np.stack([both, kind, colour, kind & colour]))
        np.add.at(pairs, (left[1][both], right[1][both]), 1)
    found, *agree = np.concatenate(parts, axis=1).sum(axis=1).tolist()
    names = ("kind", "colour", "agreement")
    agree = dict(zip(names, agree, strict=True))
    if_found = {
        f"{name}_if_found": count / found if found else math.nan
        for name, count in agree.items()
    }
    of_all = {"both_found": found} | agree
    shares = {k: count / len(images) for k, count in of_all.items()}
    return shares | if_found | {"colour_bits": _mutual_information(pairs)}


def _mutual_information(counts):
    """Returns the mutual information of two variables in bits, 0 of no data.

    By entropies with the correction of Miller (1955) for their bias.

    Args:
        counts: How often each pair of values was seen, `[values, values]`.
    """
    total = counts.sum()

    def entropy(counts):
        seen = counts[counts > 0]
        plug_in = -(seen / total * np.log2(seen / total)).sum()
        return plug_in + (len(seen) - 1) / (2 * math.log(2) * total)

    if not total:
        return 0.0
    rows, columns = entropy(counts.sum(axis=1)), entropy(counts.sum(axis=0))
    return float(rows + columns - entropy(counts.ravel()))


def shuffle_halves(images, seed: int = 0, labels=None):
    """Gives each image the right half of another, for agreement by chance.

    Args:
        images: `[n, size, size, 3]`, any dtype; n at least 2.
        seed: Seed for the permutation.
        labels: `[n]`. Halves are exchanged among images of the same label,
            since what the label tells is not agreement by chance; the only
            image of a label keeps its half. None to exchange among all.
    """
    half = images.shape[2] // 2
    order = np.random.default_rng(seed).permutation(len(images))
    labels = np.zeros(len(images)) if labels is None else np.asarray(labels)
    others = np.empty_like(order)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        others[rows] = np.roll(rows, 1)
    return np.concatenate([images[:, :, :half], images[others, :, half:]], 2)


def _to_pixels(images):
    """Returns float32 in [0, 255]; images that are not finite become black."""
    if images.dtype == np.uint8:
        return images.astype(np.float32)
    finite = np.isfinite(images).all(axis=(1, 2, 3), keepdims=True)
    images = np.where(finite, images, -1.0).astype(np.float32)
    return np.clip((images + 1.0) * 127.5, 0, 255)


def _recognise(halves):
    """Returns kinds and colours, int `[n]`, -1 where no shape is recognised."""
    cover, peak = _coverage(halves)
    overlaps = np.stack([_overlap(cover, kind) for kind in range(len(KINDS))])
    kinds, best = overlaps.argmax(axis=0), overlaps.max(axis=0)
    colours, cosine = _nearest_colours(halves, cover)
    found = (peak >= _SMALLEST_CHROMA) & (best >= _SMALLEST_OVERLAP)
    found &= cosine >= _SMALLEST_COSINE
    return np.where(found, kinds, -1), np.where(found, colours, -1)


def _coverage(halves):
    """Returns the fraction of each pixel covered by a shape, and peak chroma.

    The scale runs from the median chroma of the half (background, since a
    shape fills less than half of it) to that of its most coloured pixels.
    """
    chroma = halves.max(axis=-1) - halves.min(axis=-1)
    flat = np.sort(chroma.reshape(len(chroma), -1), axis=1)
    most_coloured = max(flat.shape[1] // 25, 1)  # The smallest shape has 7 %.
    floor = np.median(flat, axis=1)[:, None, None]
    peak = flat[:, -most_coloured:].mean(axis=1)
    span = np.maximum(peak[:, None, None] - floor, 1.0)
    # Steeper than linear around one half, to suppress noise.
    cover = ((chroma - floor) / span - 0.5) / 0.6 + 0.5
    return np.clip(cover, 0, 1), peak


def _overlap(cover, kind):
    """Returns the overlap of masks with a shape of equal area and centre."""
    n, height, width = cover.shape
    unit = shape_masks(kind, [50.0], [50.0], [100.0], (100, 100))[0]
    area = np.maximum(cover.sum(axis=(1, 2)), 1.0)
    size = np.sqrt(area / unit.mean())
    centres = []
    for axis, extent in ((1, width), (2, height)):
        ticks = np.arange(extent, dtype=np.float32) + 0.5
        centroid = (cover.sum(axis=axis) * ticks).sum(axis=1) / area
        # Centroid of this kind relative to its bounding square.
        own = (unit.sum(axis=axis - 1) * (np.arange(100) + 0.5)).sum()
        own = own / unit.sum() / 100 - 0.5
        centres.append(centroid - own * size)
    drawn = shape_masks(kind, *centres, size, (height, width))
    both = np.minimum(cover, drawn).sum(axis=(1, 2))
    either = np.maximum(cover, drawn).sum(axis=(1, 2))
    return both / np.maximum(either, 1.0)


def _nearest_colours(halves, cover):
    """Returns the nearest index in `PALETTE` and the cosine of the hues."""
    hues = halves - halves.mean(axis=-1, keepdims=True)
    mean = (hues * cover[..., None]).sum(axis=(1, 2))
    mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-6)
    palette = PALETTE - PALETTE.mean(axis=1, keepdims=True)
    palette /= np.linalg.norm(palette, axis=1, keepdims=True)
    cosines = mean @ palette.T
    return cosines.argmax(axis=1), cosines.max(axis=1)
