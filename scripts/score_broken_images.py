"""Scores real images that were broken on purpose: which score sees what.

  python scripts/score_broken_images.py --gin_config=configs/cifar10.gin \\
    --features=runs/classifier_cifar10 --data_dir=DIR

Images of the test split, as they are and broken in several ways, are scored
against those of the training split, and a Markdown table is printed.
"""

from absl import app, flags

from sagan.cli import (
    command,
    define_config_flags,
    define_path,
    start_tensorflow,
)

SCORES = ("fid", "kid", "is", "precision", "recall", "coverage", "intra_fid")

FLAGS = flags.FLAGS
define_config_flags()
define_path("features", "A feature network.", required=True)
define_path("data_dir", "Where TFDS datasets are.")
flags.DEFINE_integer("num_images", 5000, "Images of each kind.", lower_bound=2)
flags.DEFINE_integer(
    "num_kept", 10000, "Images for all but FID and IS.", lower_bound=2
)


def main(argv):
    with command(argv):
        start_tensorflow()
        import sagan.training.train  # noqa: F401  What configs bind.
        from sagan.config import parse_config
        from sagan.data.batches import first_examples
        from sagan.evaluation.embedding import embed_images
        from sagan.evaluation.features import open_features
        from sagan.evaluation.real_images import open_real
        from sagan.evaluation.scores import score

        parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
        network = open_features(FLAGS.features)
        train = open_real("train", FLAGS.data_dir)
        batches = train.one_pass().as_numpy_iterator()
        real = embed_images(network, batches, FLAGS.num_kept, False)
        test = open_real("test", FLAGS.data_dir)
        images, labels = first_examples(
            test.one_pass().as_numpy_iterator(), FLAGS.num_images
        )
        print("| | " + " | ".join(SCORES) + " |")
        print("| --- " * (1 + len(SCORES)) + "|")
        for name, broken in broken_sets(
            images, labels, train.num_classes
        ).items():
            fake = embed_images(network, in_batches(*broken), FLAGS.num_kept)
            names = train.identity.class_names if train.num_classes else ()
            scores, _ = score(real, fake, names)
            row = [f"{scores.get(key, float('nan')):.3g}" for key in SCORES]
            print(f"| {name} | {' | '.join(row)} |", flush=True)


def broken_sets(images, labels, num_classes):
    """Returns images and labels by what was done to them.

    Args:
        images: `[images, height, width, channels]`, float32 in [-1, 1].
        labels: `[images]`, integer.
        num_classes: Number of classes.
    """
    import numpy as np

    few = np.arange(len(images)) % 50
    return {
        "unchanged": (images, labels),
        "one of them, repeated": (
            np.repeat(images[:1], len(images), 0),
            labels,
        ),
        "50 of them, repeated": (images[few], labels[few]),
        "channels swapped": (images[..., ::-1], labels),
        "scaled to [0, 1]": ((images + 1.0) / 2.0, labels),
        "labels shifted by one": (images, (labels + 1) % max(1, num_classes)),
    }


def in_batches(images, labels, size=100):
    """Yields images and labels, `size` at a time."""
    for first in range(0, len(images), size):
        rows = slice(first, first + size)
        yield images[rows], labels[rows]


if __name__ == "__main__":
    app.run(main)
