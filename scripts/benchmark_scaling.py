"""Compares several workers, each on a core of its own, with one.

  python scripts/benchmark_scaling.py --gin_config=configs/cifar10.gin \\
    --gin_bindings=BASE_CHANNELS=16

Times a training step of one worker and of several with the same batch each,
and the all-reduce of the gradients by itself. Images are constant: no dataset
is needed. The runs take turns, since a machine's speed drifts; medians are
printed with their range.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile

from absl import app, flags

from sagan.cli import command, define_path, start_tensorflow
from sagan.distributed.processes import run_workers

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", ["configs/cifar10.gin"], "Configs.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override them.")
flags.DEFINE_integer("workers", 2, "Workers to compare with one.")
flags.DEFINE_integer("batch_size", 32, "Images in a batch of a worker.")
flags.DEFINE_integer("samples", 15, "Steps timed in a run.")
flags.DEFINE_integer("repeats", 3, "Runs of each.")
define_path("measured", "File for a worker's times (internal).")


def measure():
    """Times the step in a worker; the first one writes the times."""
    start_tensorflow()

    import sagan.training.train  # noqa: F401  Registers what configs bind.
    from sagan.config import parse_config, train_settings
    from sagan.distributed.strategy import make_strategy
    from sagan.distributed.workers import Workers
    from sagan.profiling.scaling import measure_step
    from sagan.profiling.step import make_config_gan

    parse_config(FLAGS.gin_config, FLAGS.gin_bindings)
    several = len(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"]) > 1
    strategy = make_strategy("multi_worker" if several else "none")
    with strategy.scope():
        gan = make_config_gan()
    d_steps = train_settings()["d_steps"]
    seconds = measure_step(
        strategy, gan, d_steps, FLAGS.batch_size, FLAGS.samples
    )
    if Workers(strategy).is_chief:
        pathlib.Path(FLAGS.measured).write_text(json.dumps(seconds))


def run(workers):
    """Starts workers, each on one core; returns the seconds of the first."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "measured.json"
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:workers])
        try:
            code = run_workers(
                [sys.executable, *sys.argv, f"--measured={path}"],
                workers,
                pin=True,
            )
        finally:
            os.sched_setaffinity(0, cores)
        if code:
            sys.exit(code)
        return json.loads(path.read_text())


def main(argv):
    with command(argv, worker=FLAGS.measured is not None):
        if FLAGS.measured:
            measure()
            return
        results = {1: [], FLAGS.workers: []}
        for _ in range(FLAGS.repeats):
            for workers, seconds in results.items():
                seconds.append(run(workers))
        for line in _report(results):
            print(line)


def _report(results):
    """Yields lines with the medians and ranges of all runs."""
    for workers, seconds in results.items():
        for name in ("step", "allreduce"):
            times = _range((s[name] for s in seconds), ".4f", " s")
            yield f"{workers} workers, {name}: {times}"
    one, several = results.values()
    efficiency = (
        a["step"] / b["step"] for a, b in zip(one, several, strict=True)
    )
    share = (b["allreduce"] / b["step"] for b in several)
    yield (
        "Efficiency (1 is as many times faster as workers): "
        + _range(efficiency, ".2f")
    )
    yield f"Share of the gradients' all-reduces: {_range(share, '.2f')}"


def _range(values, form, unit=""):
    values = sorted(values)
    median = statistics.median(values)
    return f"{median:{form}}{unit} [{values[0]:{form}}, {values[-1]:{form}}]"


if __name__ == "__main__":
    app.run(main)
