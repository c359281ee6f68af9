"""How much faster are several workers than one? Each has a core of its own.

  python scripts/benchmark_scaling.py --gin_config=configs/cifar10.gin \\
    --gin_bindings=BASE_CHANNELS=16

Times a training step of one worker, and of several that each have as large a
batch, so that they make as many times the images; and the all-reduce of the
gradients by itself. Images are constant: no data set is needed. The runs take
turns, since a machine's speed drifts; medians are printed with the range.
"""

import json
import os
import pathlib
import statistics
import sys
import tempfile

from absl import app, flags

from sagan.cli import command, start_tensorflow
from sagan.distributed.processes import run_workers

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", ["configs/cifar10.gin"], "Configs.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override them.")
flags.DEFINE_integer("workers", 2, "How many are compared with one.")
flags.DEFINE_integer("batch_size", 32, "Images a worker.")
flags.DEFINE_integer("samples", 15, "Steps that are timed in a run.")
flags.DEFINE_integer("repeats", 3, "Runs of each.")
flags.DEFINE_string("measured", None, "File for a worker's times (internal).")


def measure():
    """What each worker does: times the step; the first one writes it down."""
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
        one, several = results.values()
        for workers, seconds in results.items():
            for name in ("step", "allreduce"):
                values = sorted(s[name] for s in seconds)
                print(
                    f"{workers} workers, {name}: "
                    f"{statistics.median(values):.4f} s "
                    f"[{values[0]:.4f}, {values[-1]:.4f}]"
                )
        pairs = list(zip(one, several, strict=True))
        efficiency = sorted(a["step"] / b["step"] for a, b in pairs)
        share = sorted(b["allreduce"] / b["step"] for b in several)
        for name, values in (
            ("Efficiency (1 is as many times faster as workers)", efficiency),
            ("Share of the gradients' all-reduces", share),
        ):
            print(
                f"{name}: {statistics.median(values):.2f} "
                f"[{values[0]:.2f}, {values[-1]:.2f}]"
            )


if __name__ == "__main__":
    app.run(main)
