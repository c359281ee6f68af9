"""Settings of a dataset: those that cannot be, and gin's."""

import gin
import pytest

from sagan.data import cache, make_dataset


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 0}, "image_size is 0: expected an integer of at leas"),
        ({"image_size": 32.0}, "make_dataset.image_size is 32.0: expected an"),
        ({"batch_size": True}, "batch_size is .*: expected an integer"),
        ({"seed": -1}, "seed is -1: expected an integer of at least 0"),
        ({"channels": 4}, "channels is 4: expected one of 1, 3"),
        ({"channels": 1}, "about colour: it needs channels=3"),
        ({"num_classes": 3}, "has 4 classes.*num_classes = 4"),
        ({"num_examples": 10}, "10 images, fewer than one batch of 16"),
        ({"name": ""}, "name must be"),
        ({"split": "validation"}, "no split 'validation'"),
        ({"image_size": 8}, "at least 16 pixels"),
        (
            {"name": "synthetic_positions", "num_classes": 3},
            "'synthetic_positions' has 4 classes",
        ),
        ({"name": "cifar10", "num_examples": 9}, r"split='train\[:9\]'"),
        ({"shards": 2}, "shards is 2, but is for a TFDS"),
        (
            {"name": "folder:x", "cache": False, "shards": 2},
            "shards is 2, but is for a TFDS",
        ),
        (
            {"name": "cifar10", "cache": False, "shards": 3},
            "a divisor of the batch of 16",
        ),
        (
            {
                "name": "cifar10",
                "cache": False,
                "shards": 4,
                "shuffle_buffer": 3,
            },
            "shuffle_buffer of 3",
        ),
    ],
)
def test_wrong_arguments(settings, message):
    good = {"name": "synthetic", "image_size": 32, "batch_size": 16}
    with pytest.raises(ValueError, match=message):
        make_dataset(**{**good, **settings})


def test_cache_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(cache, "_available_memory", lambda: 10**6)
    with pytest.raises(MemoryError, match=r"100\.0 GB.*cache = False") as info:
        cache.check_memory(10**6, (1, 10**5, 1))
    assert "0.0 GB" in str(info.value)
    with pytest.raises(MemoryError, match="10000 images of 32x32x3"):
        make_dataset("synthetic", image_size=32, batch_size=16)


def test_gin_binds_and_requires():
    gin.clear_config()
    with pytest.raises(RuntimeError, match="Required bindings"):
        make_dataset()
    gin.parse_config(
        "make_dataset.name = 'synthetic'\nmake_dataset.image_size = 32\n"
        "make_dataset.batch_size = 4\nmake_dataset.num_examples = 16"
    )
    assert make_dataset(data_dir=None, download=False).size == 16
