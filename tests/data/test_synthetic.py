"""The synthetic set and the rule that its two halves agree."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sagan.data import agreement, shuffle_halves
from sagan.data.agreement import _mutual_information, _recognise
from sagan.data.synthetic import (
    COLOURS,
    KINDS,
    LABELS,
    POSITIONS,
    make_synthetic_images,
)

N, OTHER = 1100, "synthetic_positions"


@pytest.fixture(scope="module")
def drawn():
    return make_synthetic_images(N, 32)


def test_image_depends_on_its_index_alone(drawn):
    images, labels = make_synthetic_images(1050, 32)
    np.testing.assert_array_equal(images, drawn[0][:1050])
    np.testing.assert_array_equal(labels, drawn[1][:1050])
    other, _ = make_synthetic_images(8, 32, "test")
    assert (other != images[:8]).any(axis=(1, 2, 3)).all()


def test_reference_values(drawn):
    # Runs are compared across machines and years: the set must not drift.
    images, labels = drawn
    assert images.dtype == np.uint8
    assert labels.dtype == np.int32
    assert labels[:12].tolist() == [1, 0, 2, 1, 3, 1, 0, 2, 2, 0, 1, 2]
    shares = np.bincount(labels, minlength=len(KINDS)) / len(labels)
    np.testing.assert_allclose(shares, 0.25, atol=0.06)


def test_label_is_the_kind_in_both_halves(drawn):
    images, labels = drawn
    for half in (images[:, :, :16], images[:, :, 16:]):
        kinds, _ = _recognise(half.astype(np.float32))
        np.testing.assert_array_equal(kinds, labels)


def test_positions_are_another_label_of_the_same_images(drawn):
    images, labels = make_synthetic_images(N, 32, "train", OTHER)
    np.testing.assert_array_equal(images, drawn[0])
    assert labels.dtype == np.int32
    assert labels[:12].tolist() == [2, 2, 0, 3, 2, 3, 0, 2, 2, 0, 1, 0]
    # By the pixels: the chroma's centre of gravity, apart from triangles, whose
    # own is below the middle, and from shapes within a pixel of it.
    pixels = images.astype(np.float32)
    chroma = np.clip(pixels.max(-1) - pixels.min(-1) - 40, 0, None)
    rows = np.arange(32) + 0.5
    for half, bit in ((slice(16), 2), (slice(16, 32), 1)):
        weights = chroma[:, :, half].sum(2)
        centres = weights @ rows / weights.sum(1) - 16
        clear = (np.abs(centres) > 1) & (drawn[1] != KINDS.index("triangle"))
        assert clear.sum() > N / 2
        np.testing.assert_array_equal(
            (centres > 0)[clear], (labels & bit > 0)[clear]
        )
    # Five standard deviations of a share.
    shares = np.bincount(labels, minlength=len(POSITIONS)) / len(labels)
    np.testing.assert_allclose(shares, 0.25, atol=0.07)


def _share_of_pairs(values, labels):
    """Share of equal values in all pairs of images of one label."""
    equal = pairs = 0
    for label in np.unique(labels):
        counts = np.unique(values[labels == label], return_counts=True)[1]
        equal += (counts * (counts - 1)).sum()
        pairs += counts.sum() * (counts.sum() - 1)
    return equal / pairs


@pytest.mark.parametrize(
    ("name", "kind", "colour", "both"),
    [("synthetic", 1, 1 / 6, 1 / 6), (OTHER, 1 / 4, 1 / 6, 1 / 24)],
)
def test_what_the_label_tells_of_the_rule(name, kind, colour, both):
    """Chance of agreement where only the label is known: all its pairs."""
    n = 1500
    images, kinds = make_synthetic_images(n, 32)
    found, colours = _recognise(images[:, :, :16].astype(np.float32))
    np.testing.assert_array_equal(found, kinds)
    _, labels = make_synthetic_images(n, 32, name=name)
    for values, chance in (
        (kinds, kind),
        (colours, colour),
        (kinds * len(COLOURS) + colours, both),
    ):
        # Of k uniform values in each of m labels of n / m images, the share has
        # a standard deviation of sqrt(2 m (k - 1)) / (k n), by chi-squared.
        free = 2 * len(LABELS[name]) * (1 / chance - 1)
        excess = _share_of_pairs(values, labels) - chance
        assert abs(excess) < 5 * chance * np.sqrt(free) / n + 1e-9
    # And as the pixels are scored, after one exchange.
    exchanged = shuffle_halves(images, labels=labels)
    scores = agreement(exchanged)
    for key, chance in (
        ("kind_if_found", kind),
        ("colour_if_found", colour),
        ("agreement_if_found", both),
    ):
        deviation = np.sqrt(chance * (1 - chance) / n)
        assert scores[key] == pytest.approx(chance, abs=5 * deviation + 0.001)


def test_bits_tell_agreement_from_chance_and_from_collapse(drawn):
    images, _ = make_synthetic_images(1500, 32)
    # Counts of 1500 uniform colours: 0.002 bits off at one deviation.
    bits = agreement(images)["colour_bits"]
    assert bits == pytest.approx(np.log2(len(COLOURS)), abs=0.01)
    # Those of a 6x6 table by chance: (5 * 5)^0.5 / 1500 / log(2) / 2^0.5.
    assert abs(agreement(shuffle_halves(images))["colour_bits"]) < 0.02
    red = images[_recognise(images[:, :, :16].astype(np.float32))[1] == 0]
    scores = agreement(red)
    assert (scores["colour_if_found"], scores["colour_bits"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([[5, 0], [0, 5]], 1 - 1 / 20 / np.log(2) * (1 - 2)),
        ([[3, 1], [1, 3]], 2 - 1.8112781244591327 - 1 / 16 / np.log(2)),
        ([[0, 0], [0, 7]], 0.0),
        ([[0, 0], [0, 0]], 0.0),
    ],
)
def test_mutual_information_by_hand(counts, bits):
    assert _mutual_information(np.array(counts)) == pytest.approx(bits)


def test_halves_are_exchanged_within_a_label(drawn):
    images, labels = drawn[0][:9], np.array([0, 1, 0, 1, 2, 0, 3, 3, 0])
    exchanged = shuffle_halves(images, 3, labels)
    keys = [image[:, 16:].tobytes() for image in images]
    others = [keys.index(image[:, 16:].tobytes()) for image in exchanged]
    assert sorted(others) == list(range(9))
    np.testing.assert_array_equal(labels[others], labels)
    alone = others == np.arange(9)
    np.testing.assert_array_equal(alone, labels == 2)


def test_shapes_stay_clear_of_the_border_and_the_middle(drawn):
    pixels = drawn[0].astype(int)
    chroma = pixels.max(axis=-1) - pixels.min(axis=-1)
    for column in (0, 15, 16, 31):
        assert chroma[:, :, column].max() < 110
    assert chroma[:, [0, 31]].max() < 110


@pytest.mark.parametrize("size", [16, 32, 33, 64])
def test_real_images_agree(size):
    images, _ = make_synthetic_images(200, size)
    assert agreement(images)["agreement"] >= 0.99
    as_floats = images / np.float32(127.5) - 1
    assert agreement(as_floats) == agreement(images)


def test_shuffled_halves_agree_by_chance(drawn):
    images = drawn[0]
    shuffled = shuffle_halves(images)
    np.testing.assert_array_equal(shuffled[:, :, :16], images[:, :, :16])
    same = (shuffled == images).all(axis=(1, 2, 3))
    assert not same.any()
    scores = agreement(shuffled)
    assert scores["both_found"] >= 0.99
    chance = 1 / (len(KINDS) * len(COLOURS))
    # Three standard errors of a proportion.
    assert scores["agreement"] == pytest.approx(chance, abs=0.019)
    assert scores["kind"] == pytest.approx(1 / len(KINDS), abs=0.041)
    assert scores["colour"] == pytest.approx(1 / len(COLOURS), abs=0.036)


def test_blur_and_noise_are_forgiven(drawn):
    blur = ImageFilter.GaussianBlur(0.8)
    blurred = np.stack(
        [np.array(Image.fromarray(i).filter(blur)) for i in drawn[0][:300]]
    )
    assert agreement(blurred)["agreement"] > 0.9
    noise = np.random.default_rng(0).normal(0, 12, blurred.shape)
    noisy = np.clip(blurred + noise, 0, 255).astype(np.uint8)
    assert agreement(noisy)["agreement"] > 0.9


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.uniform(-1, 1, [100, 32, 32, 3]),
        lambda rng: rng.normal(0, 0.3, [100, 32, 32, 3]),
        lambda rng: np.zeros([100, 32, 32, 3]),
        lambda rng: np.ones([100, 32, 32, 3]) * [1.0, -1.0, -1.0],
        lambda rng: np.full([100, 32, 32, 3], np.nan),
        lambda rng: np.zeros([100, 32, 32, 3], np.uint8),
    ],
    ids=["uniform", "normal", "grey", "red", "nan", "black"],
)
def test_nothing_is_found_where_nothing_is(make):
    scores = agreement(make(np.random.default_rng(0)))
    shares = {k: v for k, v in scores.items() if "_if_found" not in k}
    assert shares == dict.fromkeys(
        ("both_found", "kind", "colour", "agreement", "colour_bits"), 0.0
    )
    assert len(scores) == 8
    assert all(np.isnan(scores[key]) for key in scores.keys() - shares.keys())


def test_only_the_broken_images_are_lost(drawn):
    images = drawn[0][:10] / np.float32(127.5) - 1
    images[:3, 0, 0, 0] = np.nan
    images[3, :, 16:] = 0
    scores = agreement(images)
    assert scores["both_found"] == scores["agreement"] == pytest.approx(0.6)
    assert scores["agreement_if_found"] == 1


def test_wrong_kind_or_colour_alone_does_not_agree(drawn):
    images, labels = drawn
    recoloured = images[..., [1, 2, 0]]
    recoloured[:, :, :16] = images[:, :, :16]
    scores = agreement(recoloured)
    assert scores["kind"] >= 0.99
    assert scores["colour"] == scores["agreement"] == 0
    disc, cross = images[labels == 0][:50], images[labels == 3][:50]
    disc[:, :, 16:] = cross[:, :, 16:]
    assert agreement(disc)["kind"] == 0


def test_wrong_inputs():
    with pytest.raises(ValueError, match="no split 'validation'"):
        make_synthetic_images(4, 32, "validation")
    with pytest.raises(ValueError, match="at least 16 pixels"):
        make_synthetic_images(4, 8)
    with pytest.raises(ValueError, match="no synthetic set 'synthetic_x'"):
        make_synthetic_images(4, 32, name="synthetic_x")
    with pytest.raises(ValueError, match=r"got \[4, 32, 32, 1\]"):
        agreement(np.zeros([4, 32, 32, 1]))
