"""Synthetic images with a long-range rule that can be checked by eye.

Each image shows one shape in its left half and one in its right, at random
positions and sizes, on a soft grey gradient. The two shapes always agree in
kind and in colour. A generator whose halves are independent can draw good
shapes but agrees only by chance, which makes the set a test of attention;
`sagan.data.agreement` measures it.

The name of the dataset selects the labels of the images:

- "synthetic": the kind of the shapes. It tells a conditional generator the
  kind in both halves, so that only the colour remains to agree on.
- "synthetic_positions": whether the left and the right shape are in the upper
  or the lower half. That is independent of kind and colour, so that both
  remain to agree on.

The images are drawn here, without a download.
"""

import numpy as np

KINDS = ("disc", "square", "triangle", "cross")
POSITIONS = ("both above", "right below", "left below", "both below")
# Names of the labels, by dataset.
LABELS = {"synthetic": KINDS, "synthetic_positions": POSITIONS}
COLOURS = ("red", "yellow", "green", "cyan", "blue", "magenta")
# Hues 60 degrees apart, all of one chroma (largest minus smallest channel), so
# that shapes of all colours stand out equally from the grey.
PALETTE = np.array(
    [
        [225, 35, 35],
        [225, 225, 35],
        [35, 200, 35],
        [35, 225, 225],
        [45, 45, 235],
        [225, 35, 225],
    ],
    np.float32,
)

SMALLEST_IMAGE = 16
# Changes with what is drawn.
DRAWING = 1
# Sizes and margins as fractions of the image's side: 9 to 14 of 32 pixels.
_SMALLEST_SHAPE, _LARGEST_SHAPE, _MARGIN = 0.29, 0.43, 0.025
_SEEDS = {"train": 20180521, "test": 20190612}
_CHUNK = 1024


def is_synthetic(name: str) -> bool:
    """Whether `name` is a synthetic dataset."""
    return name in LABELS


def make_synthetic_images(
    num_examples: int,
    image_size: int,
    split: str = "train",
    name: str = "synthetic",
):
    """Draws the first `num_examples` images of the synthetic set.

    Image i depends only on i, `image_size` and `split`, not on the number of
    images. The splits share no image.

    Args:
        num_examples: Number of images.
        image_size: Side in pixels, at least 16; 32 or more to tell the kinds
            apart easily.
        split: "train" or "test".
        name: Key of `LABELS`; the images are the same.

    Returns:
        `(images, labels)`: uint8 `[num_examples, image_size, image_size, 3]`
        and int32 `[num_examples]`, indices in `LABELS[name]`.

    Raises:
        ValueError: If the split or name is unknown or the images are too small.
    """
    if not is_synthetic(name):
        raise ValueError(
            f"There is no synthetic set {name!r}; use one of {sorted(LABELS)}."
        )
    if split not in _SEEDS:
        raise ValueError(
            f"The synthetic set has no split {split!r}; use one of "
            f"{sorted(_SEEDS)}."
        )
    if image_size < SMALLEST_IMAGE:
        raise ValueError(
            f"Synthetic images are at least {SMALLEST_IMAGE} pixels wide, got "
            f"image_size={image_size}."
        )
    # Row-major draws: row i does not depend on the number of rows.
    bits = np.random.Philox(_SEEDS[split])
    draws = np.random.Generator(bits).random((num_examples, 16))
    draws = draws.astype(np.float32)
    images = np.empty((num_examples, image_size, image_size, 3), np.uint8)
    for start in range(0, num_examples, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        images[chunk] = _draw(draws[chunk], image_size)
    return images, _labels(draws, LABELS[name])


def _labels(draws, names):
    if names is KINDS:
        labels = _pick(draws[:, 0], len(KINDS))
    else:
        # A vertical draw above one half puts the shape below the centre.
        left_below, right_below = draws[:, [11, 14]].T > 0.5
        labels = 2 * left_below + right_below
    return labels.astype(np.int32)


def _pick(draws, num_choices):
    # A float32 draw can round up to 1.
    return np.minimum((draws * num_choices).astype(int), num_choices - 1)


def _draw(draws, image_size):
    """Draws images `[n, image_size, image_size, 3]` from numbers `[n, 16]`."""
    kinds = _pick(draws[:, 0], len(KINDS))
    colours = PALETTE[_pick(draws[:, 1], len(COLOURS))]
    images = _gradients(draws[:, 2:9], image_size)
    for half, (size, x, y) in enumerate((draws[:, 9:12].T, draws[:, 12:15].T)):
        size = _SMALLEST_SHAPE + (_LARGEST_SHAPE - _SMALLEST_SHAPE) * size
        reach = size / 2 + _MARGIN
        x = reach + (0.5 - 2 * reach) * x + 0.5 * half
        y = reach + (1.0 - 2 * reach) * y
        mask = np.empty(images.shape[:3], np.float32)
        for kind in range(len(KINDS)):
            rows = kinds == kind
            mask[rows] = shape_masks(
                kind,
                x[rows] * image_size,
                y[rows] * image_size,
                size[rows] * image_size,
                (image_size, image_size),
            )
        images += mask[..., None] * (colours[:, None, None] - images)
    return np.rint(np.clip(images, 0, 255)).astype(np.uint8)


def _gradients(draws, image_size):
    """Returns float32 linear gradients between two near-greys, at any angle."""
    angle = (2 * np.pi * draws[:, 0])[:, None, None]
    ticks = np.linspace(-0.5, 0.5, image_size, dtype=np.float32)
    ramp = np.cos(angle) * ticks + np.sin(angle) * ticks[:, None]
    ramp = (ramp + 0.75)[..., None] / 1.5  # [n, size, size, 1], in [0, 1]
    ends = 50 + 150 * draws[:, 1:3, None] + 12 * (draws[:, 3:6, None].mT - 0.5)
    start, stop = ends[:, 0, None, None], ends[:, 1, None, None]
    return start + (stop - start) * ramp


def shape_masks(kind: int, x, y, size, extent):
    """Returns antialiased masks of a kind of shape, by its distance function.

    Args:
        kind: Index in `KINDS`.
        x, y: Centres of the shapes' bounding squares in pixels, float `[n]`;
            the image's corner is (0, 0), the first pixel's centre (.5, .5).
        size: Side of the bounding squares in pixels, float `[n]`.
        extent: Height and width of the masks in pixels.

    Returns:
        Fraction of each pixel covered, float32 `[n, height, width]`.
    """
    height, width = extent
    radius = (np.asarray(size, np.float32) / 2)[:, None, None]
    x = np.asarray(x, np.float32)[:, None, None]
    y = np.asarray(y, np.float32)[:, None, None]
    dx = np.abs(np.arange(width, dtype=np.float32) + 0.5 - x)
    dy = np.arange(height, dtype=np.float32)[:, None] + 0.5 - y
    if KINDS[kind] == "disc":
        distance = np.sqrt(dx**2 + dy**2) - radius
    elif KINDS[kind] == "square":
        distance = np.maximum(dx, np.abs(dy)) - radius
    elif KINDS[kind] == "triangle":
        # Apex at the top; the sides fall two pixels for each one across.
        sides = (2 * dx - dy - radius) / np.sqrt(np.float32(5))
        distance = np.maximum(sides, dy - radius)
    else:
        dy = np.abs(dy)
        across = np.maximum(dx - radius, dy - radius / 3)
        down = np.maximum(dx - radius / 3, dy - radius)
        distance = np.minimum(across, down)
    return np.clip(0.5 - distance, 0, 1)
