"""Numbers that say whether an attention map looks anywhere, and how far."""

import functools

import numpy as np


def spread_keys(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Divides the weight of each key among the positions it stands for.

    A pooled key is the maximum, by channel, over 2x2 positions (fewer at an
    odd edge): which of them won differs between channels, so each gets an
    equal share.

    Args:
        maps: `[..., keys]`, in row-major order.
        size: Height and width of the features.

    Returns:
        `[..., height, width]`, with the same sums.

    Raises:
        ValueError: If the keys are neither the positions nor 2x2 of them.
    """
    height, width = size
    rows, columns = (-(-side // 2) for side in size)
    if maps.shape[-1] == height * width:
        return maps.reshape(*maps.shape[:-1], height, width)
    if maps.shape[-1] != rows * columns:
        raise ValueError(
            f"{maps.shape[-1]} keys do not belong to {height}x{width} "
            f"positions: expected {height * width} or, pooled, "
            f"{rows * columns}."
        )
    maps = maps.reshape(*maps.shape[:-1], rows, columns)
    for axis, side in ((-2, height), (-1, width)):
        maps = np.repeat(maps, 2, axis).take(np.arange(side), axis)
    shares = np.outer(_shares(height), _shares(width))
    return maps * shares.astype(maps.dtype)


def _shares(side):
    """Returns the share of each position in its pair, 1 for an odd last one."""
    shares = np.full(side, 0.5)
    if side % 2:
        shares[-1] = 1.0
    return shares


def attention_statistics(
    maps: np.ndarray, size: tuple[int, int], pixels: float = 1.0
) -> dict[str, float]:
    """Describes attention maps by numbers, averaged over images and queries.

    No one of them suffices: if all queries look at the same three keys, the
    distance is that of a uniform map, and the entropy that of a focused one.

    Args:
        maps: `[images, queries, keys]`, each row summing to one.
        size: Height and width of the features.
        pixels: Image pixels per position.

    Returns:
        By name, each with that of a uniform map as `..._uniform`: "distance",
        from the query, in image pixels; "entropy" in bits; "far", the weight
        farther away than a quarter of the image's height. "largest": weight on
        the largest key; "distinct": largest keys of an image that differ,
        "keys": of so many.
    """
    keys = maps.shape[-1]
    means = _key_means(*size, keys, pixels)
    positive = np.maximum(maps, np.finfo(np.float64).tiny)
    entropy = -np.einsum("nqk,nqk->nq", maps, np.log2(positive))
    statistics = {}
    for name, values in means.items():
        weighted = np.einsum("nqk,qk->nq", maps, values, dtype=np.float64)
        statistics[name] = float(weighted.mean())
        statistics[f"{name}_uniform"] = float(values.mean())
    largest = maps.argmax(-1)
    return statistics | {
        "entropy": float(entropy.mean()),
        "entropy_uniform": float(np.log2(keys)),
        "largest": float(maps.max(-1).mean()),
        "distinct": float(np.mean([len(np.unique(row)) for row in largest])),
        "keys": keys,
    }


# The products take seconds for large maps, and only their sizes matter.
@functools.lru_cache(maxsize=4)
def _key_means(height, width, keys, pixels):
    """Returns what is averaged by the weights, `[queries, keys]`, by name."""
    places = np.stack(
        np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1
    ).reshape(-1, 2)
    # [keys, positions]
    shares = spread_keys(np.eye(keys), (height, width)).reshape(keys, -1)
    distances = np.linalg.norm(places[:, None] - places, axis=-1)
    return {
        "distance": pixels * distances @ shares.T,
        "far": (distances > height / 4) @ shares.T,
    }


def distinct_queries(attention: np.ndarray, count: int) -> list[int]:
    """Chooses queries whose maps differ most.

    The first is the query whose map is farthest from the mean map, each
    further one that whose map is farthest from its nearest among the chosen,
    by total variation.

    Args:
        attention: `[queries, keys]`, each row summing to one.
        count: Number of queries.

    Returns:
        Their numbers, fewer than `count` if there are fewer queries.
    """
    nearest = np.abs(attention - attention.mean(0)).sum(1)
    chosen = [int(nearest.argmax())]
    nearest[:] = np.inf
    while len(chosen) < min(count, len(attention)):
        distance = np.abs(attention - attention[chosen[-1]]).sum(1)
        nearest = np.minimum(nearest, distance)
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return chosen
