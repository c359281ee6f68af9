"""Draws what the number of samples does to FID and KID, on real images.

  python scripts/plot_fid_by_samples.py --gin_config=configs/cifar10.gin \\
    --features=runs/classifier_cifar10 --data_dir=DIR --out=fid_by_samples.png

Training images, fewer and fewer, are scored against test images as generated
ones would be. A perfect generator would have these scores.
"""

from absl import app, flags, logging

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", [], "Config of the data set.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override it.")
flags.DEFINE_string("features", None, "A feature network.", required=True)
flags.DEFINE_string("data_dir", None, "Where TFDS data sets are.")
flags.DEFINE_string("out", "fid_by_samples.png", "PNG file to write.")


def main(argv):
    with command(argv):
        start_tensorflow()
        import numpy as np

        import sagan.training.train  # noqa: F401  What configs bind.
        from sagan.config import parse_config
        from sagan.evaluation.embedding import embed_images
        from sagan.evaluation.features import open_features
        from sagan.evaluation.figures import draw_by_samples
        from sagan.evaluation.real_images import open_real
        from sagan.runs.sample_grids import prepare_png

        prepare_png(FLAGS.out)
        parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
        network = open_features(FLAGS.features)
        sets = []
        for split in ("train", "test"):
            data = open_real(split, FLAGS.data_dir)
            batches = data.one_pass().as_numpy_iterator()
            sets.append(embed_images(network, batches, data.size).features)
        largest = min(map(len, sets))
        sizes = np.geomspace(50, largest, 10).astype(int)
        rows = draw_by_samples(FLAGS.out, *sets, sizes)
    logging.info("Wrote %s.", FLAGS.out)
    print(f"{'samples':>8}{'FID':>10}{'KID':>10}")
    for size, fid, kid in rows:
        print(f"{size:8}{fid:10.3f}{kid:10.5f}")


if __name__ == "__main__":
    app.run(main)
