"""Images and scores are the same on any number of replicas."""

import os
import shutil
import subprocess
import sys

import numpy as np

from sagan.cli import start_tensorflow
from sagan.distributed.replicas import run_on_replicas
from sagan.distributed.strategy import make_local_strategy
from sagan.evaluation.records import read_records
from sagan.evaluation.runs import evaluate_run
from sagan.generator import build_generator
from sagan.runs import sample_grids as sampling
from sagan.runs.checkpoints import restore_generator
from sagan.runs.record import parse_recorded_config

SCORES = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
TWO_REPLICAS = ("train.strategy = 'mirrored'", "train.num_replicas = 2")


def sample_and_score(workdir, *bindings):
    """Returns images, scores and replicas; the numbers of images are odd."""
    bindings = [*bindings, "make_evaluation.num_samples = 101"]
    parse_recorded_config(workdir, bindings)
    strategy = make_local_strategy()
    with strategy.scope():
        generator = build_generator()
    restore_generator(f"{workdir}/checkpoints", generator)
    latents, labels = sampling.fixed_inputs(generator, 7, columns=2)
    call = run_on_replicas(generator, strategy)
    images = sampling.generate(call, latents, labels, batch_size=4)
    evaluate_run(workdir, None, "last", ["ema"], ["moving"])
    record = read_records(workdir)[-1]
    scores = [record[name] for name in SCORES]
    return {"images": images, "scores": scores, "replicas": record["replicas"]}


def test_images_and_scores_are_those_of_one_replica(run, run_eagerly, tmp_path):
    workdir, out = tmp_path / "run", tmp_path / "two.npz"
    shutil.copytree(run, workdir)
    # Devices are set once in a process.
    result = subprocess.run(
        [sys.executable, __file__, workdir, out],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    two, one = np.load(out), sample_and_score(workdir)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert one["images"].shape == (7, 32, 32, 3)
    np.testing.assert_allclose(two["images"], one["images"], atol=1e-5)
    # A pixel may be rounded to the other neighbour.
    np.testing.assert_allclose(two["scores"], one["scores"], rtol=1e-4)


if __name__ == "__main__":
    start_tensorflow()
    np.savez(sys.argv[2], **sample_and_score(sys.argv[1], *TWO_REPLICAS))
