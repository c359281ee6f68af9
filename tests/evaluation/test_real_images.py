"""Real images: embedded once, seen once and as they are."""

import gin
import numpy as np

from sagan.config import parse_config
from sagan.evaluation import real_images
from sagan.evaluation.embedding import quantise
from sagan.evaluation.features import FeatureNetwork
from sagan.evaluation.protocol import make_evaluation
from sagan.evaluation.real_images import embed_real, open_real


def bind(**settings):
    with gin.unlock_config():
        for name, value in settings.items():
            gin.bind_parameter(f"make_dataset.{name}", value)


def test_features_of_real_images_are_computed_once(
    bindings, tmp_path, monkeypatch
):
    parse_config(["configs/synthetic.gin"], bindings)
    first = make_evaluation(tmp_path)
    files = sorted((tmp_path / "sagan_features").iterdir())
    assert len(files) == 2
    name = "synthetic_train_32x32x3_200of200_kept100_all_coarse_"
    assert files[1].name.startswith(name)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(real_images, "embed_images", refuse)
    # A run of another seed or batch is scored against the same images.
    bind(seed=5, batch_size=8)
    again = make_evaluation(tmp_path)
    assert again.real_reference == first.real_reference
    np.testing.assert_array_equal(again.real.mean, first.real.mean)
    monkeypatch.undo()
    # One that is damaged is computed again.
    files[1].write_bytes(files[1].read_bytes()[:500])
    np.testing.assert_allclose(
        make_evaluation(tmp_path).real.mean, first.real.mean, atol=1e-9
    )
    # Other images, other features.
    bind(num_examples=180)
    assert make_evaluation(tmp_path).real.count == 180
    assert len(list((tmp_path / "sagan_features").iterdir())) > 2


def test_features_of_two_resizers_are_kept_apart(bindings, tmp_path):
    """Though the hash of the network is the same."""
    parse_config(["configs/synthetic.gin"], bindings)
    dataset = open_real("train", None)
    sums = []
    for factor, variant in ((1.0, ""), (2.0, "pytorch-biased")):
        network = FeatureNetwork(
            *("flat", "0" * 64, "none"),
            lambda x, factor=factor: (factor * x[:, ::8, 5, 0], None),
            variant=variant,
        )
        found = embed_real(network, dataset, "train", 64, 9, tmp_path)
        sums.append(found.mean.sum())
    np.testing.assert_allclose(sums[1], 2.0 * sums[0])
    assert len(list(tmp_path.iterdir())) == 2


def test_real_images_are_not_mirrored_and_seen_once(bindings):
    passes = []
    for flip in (True, False):
        flips = f"make_dataset.flip = {flip}"
        parse_config(["configs/synthetic.gin"], [*bindings, flips])
        batches = open_real("train", None).one_pass()
        passes.append(np.concatenate([images for images, _ in batches]))
    images, unmirrored = passes
    np.testing.assert_array_equal(images, unmirrored)
    assert len(images) == 200
    assert len(np.unique(images.reshape(200, -1), axis=0)) == 200
    np.testing.assert_array_equal(quantise(images), images)
