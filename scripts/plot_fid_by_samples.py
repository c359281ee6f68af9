"""Plots FID and KID of real images against the number of samples.

  python scripts/plot_fid_by_samples.py --gin_config=configs/cifar10.gin \\
    --features=runs/classifier_cifar10 --data_dir=DIR --out=fid_by_samples.png

Training images, fewer and fewer, are scored against test images as generated
ones would be. A perfect generator would have these scores.
"""

from absl import app, flags, logging

from sagan.cli import (
    command,
    define_config_flags,
    define_path,
    start_tensorflow,
)

FLAGS = flags.FLAGS
define_config_flags()
define_path("features", "A feature network.", required=True)
define_path("data_dir", "Where TFDS datasets are.")
define_path("out", "PNG file to write.", default="fid_by_samples.png")


def main(argv):
    with command(argv):
        start_tensorflow()
        import numpy as np

        import sagan.training.train  # noqa: F401  What configs bind.
        from sagan.config import parse_config
        from sagan.evaluation.embedding import embed_images
        from sagan.evaluation.features import open_features
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
        rows = score_parts(*sets, sizes)
        draw(FLAGS.out, rows)
    logging.info("Wrote %s.", FLAGS.out)
    print(f"{'samples':>8}{'FID':>10}{'KID':>10}")
    for size, fid, kid in rows:
        print(f"{size:8}{fid:10.3f}{kid:10.5f}")


def score_parts(first, second, sizes):
    """Returns size, FID and KID of the first rows of one set against another.

    Args:
        first: Features of which some are taken, `[samples, features]`.
        second: Features of which all are taken, `[samples, features]`.
        sizes: Numbers of rows of `first`.
    """
    from sagan.metrics.fid import feature_frechet_distance
    from sagan.metrics.kid import kernel_distance

    rows = []
    for size in sizes:
        part = first[:size]
        fid = feature_frechet_distance(second, part)
        kid, _ = kernel_distance(second, part, num_subsets=20)
        rows.append((int(size), fid, kid))
    return rows


def draw(path, rows):
    """Plots FID and KID by size and writes a PNG file."""
    from matplotlib.figure import Figure

    sizes = [row[0] for row in rows]
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, 2)
    for axis, name, column in zip(panels, ("FID", "KID"), (1, 2), strict=True):
        axis.plot(sizes, [row[column] for row in rows], marker=".")
        axis.set_xscale("log")
        axis.set_xlabel("samples")
        axis.set_ylabel(name)
    panels[0].set_yscale("log")
    panels[1].axhline(0.0, color="grey", linewidth=0.5)
    figure.suptitle("Real images against other real images")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    app.run(main)
