"""Intra-FID is the FID of each class, and says which classes it lacks."""

import numpy as np
import pytest

from sagan.metrics.fid import feature_frechet_distance, intra_class_fid


def _draw(counts, seed=0, num_features=3):
    """Features about a place of their class, and labels, both shuffled."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(list(counts), list(counts.values())))
    noise = rng.normal(size=(len(labels), num_features))
    return noise + 10.0 * labels[:, None], labels


def test_it_is_the_mean_of_the_fid_of_each_class():
    real, real_labels = _draw({0: 20, 1: 30, 7: 25})
    fake, fake_labels = _draw({0: 10, 1: 50, 7: 15}, seed=1)
    mean, distances, warnings = intra_class_fid(
        real, real_labels, fake, fake_labels
    )
    assert sorted(distances) == [0, 1, 7]
    assert warnings == []
    for label, distance in distances.items():
        assert distance == feature_frechet_distance(
            real[real_labels == label], fake[fake_labels == label]
        )
    # Unweighted, however many samples a class has.
    assert mean == pytest.approx(sum(distances.values()) / 3, rel=1e-14)


def test_a_generator_that_ignores_its_labels_is_found_out():
    real, labels = _draw({0: 50, 1: 50})
    fake, fake_labels = _draw({0: 50, 1: 50}, seed=1)
    honest, _, _ = intra_class_fid(real, labels, fake, fake_labels)
    swapped, _, _ = intra_class_fid(real, labels, fake, 1 - fake_labels)
    assert swapped > honest + 250.0


def test_classes_of_too_few_samples_are_left_out_and_listed():
    real, real_labels = _draw({0: 20, 1: 20, 2: 20, 3: 1})
    fake, fake_labels = _draw({0: 20, 1: 1, 3: 20, 4: 20}, seed=1)
    mean, distances, warnings = intra_class_fid(
        real, real_labels, fake, fake_labels
    )
    assert list(distances) == [0]
    assert mean == distances[0]
    (text,) = warnings
    assert text.startswith("4 of 5 classes are not in the mean")
    assert "1, 2, 3, 4." in text
    names = ["ant", "bee", "cat", "dog", "eel"]
    *_, (text,) = intra_class_fid(real, real_labels, fake, fake_labels, names)
    assert text.endswith("samples: bee, cat, dog, eel.")


def test_classes_of_fewer_samples_than_features_are_warned_of_once():
    counts = dict.fromkeys(range(30), 20)
    real, real_labels = _draw(counts, num_features=16)
    fake, fake_labels = _draw(counts | {3: 5, 4: 6}, seed=1, num_features=16)
    _, distances, warnings = intra_class_fid(
        real, real_labels, fake, fake_labels
    )
    assert len(distances) == 30
    (text,) = warnings
    assert text.startswith("2 of 30 classes are small. As few as 5 samples")
    assert "KID" in text


def test_long_lists_of_classes_are_cut():
    real, real_labels = _draw(dict.fromkeys(range(40), 2))
    fake, fake_labels = _draw({0: 2}, seed=1)
    _, _, warnings = intra_class_fid(real, real_labels, fake, fake_labels)
    assert warnings[0].endswith("9, 10, ....")


def test_bad_input_is_refused():
    real, labels = _draw({0: 5, 1: 5})
    with pytest.raises(ValueError, match="No class has two"):
        intra_class_fid(real, labels, real, labels + 2)
    with pytest.raises(ValueError, match=r"fake_labels has shape \[9\]"):
        intra_class_fid(real, labels, real, labels[:9])
    with pytest.raises(ValueError, match="argmax of one-hot labels"):
        intra_class_fid(real, np.eye(2)[labels], real, labels)
    with pytest.raises(ValueError, match="dtype float64"):
        intra_class_fid(real, labels / 1.0, real, labels)
    with pytest.raises(ValueError, match="fake has 2"):
        intra_class_fid(real, labels, real[:, :2], labels)
