"""Checks every 1x1 convolution of a config's networks on this device.

  python scripts/check_pointwise.py --gin_config=configs/celeba.gin

Compares every implementation, values and both gradients, with a loop over
positions in float64. Prints the largest error of each, in units of what
rounding explains; above 1 is wrong, and the exit status is then 1. A GPU's
TF32 is off here, as in training.
"""

import collections
import math
import sys
import time

from absl import app, flags

from sagan.startup import short_errors, start_logging, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", [], "Config whose networks to take.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override it.")
flags.DEFINE_integer("batch_size", 1, "Images a batch.", lower_bound=1)
flags.DEFINE_list("dtypes", ["float32", "bfloat16", "float16"], "Some only.")
flags.DEFINE_list("modes", ["eager", "function", "unknown", "jit"],
                  "Some only; unknown is a function of any sizes.")  # fmt: skip


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_logging()
    with short_errors():
        start_tensorflow()
        sys.exit(0 if _check() else 1)


def _check():
    import tensorflow as tf

    from sagan.benchmarks import conformance
    from sagan.benchmarks.shapes import config_shapes
    from sagan.layers.pointwise import IMPLEMENTATIONS
    from sagan.machine import describe_machine
    from sagan.settings import check_choices

    check_choices("--dtypes", FLAGS.dtypes, tuple(conformance.ROUNDING))
    check_choices("--modes", FLAGS.modes, conformance.MODES)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    started = time.perf_counter()
    shapes = config_shapes(
        FLAGS.gin_config, FLAGS.gin_bindings, FLAGS.batch_size
    )
    # Discriminator updates see twice as many images.
    shapes = sorted(s for s in shapes if s.batch == FLAGS.batch_size)
    print(f"{'':18}" + "".join(f"{name:>15}" for name in IMPLEMENTATIONS))
    worst = collections.Counter()
    for dtype in FLAGS.dtypes:
        for shape in shapes:
            found = conformance.errors(shape, dtype, FLAGS.modes)
            for (mode, name, result), error in found.items():
                if not error <= 1:
                    print(f"WRONG: {name} {shape} {dtype} {mode} {result}")
                # A NaN counts as infinite, which max() would overlook.
                error = math.inf if math.isnan(error) else error
                key = dtype, mode, name
                worst[key] = max(worst[key], error)
        for mode in FLAGS.modes:
            errors = (worst[dtype, mode, name] for name in IMPLEMENTATIONS)
            line = "".join(f"{error:15.3f}" for error in errors)
            print(f"{dtype:10}{mode:8}{line}", flush=True)
    rows = len(worst) * len(shapes)
    print(
        f"{rows} rows: {len(IMPLEMENTATIONS)} implementations, {len(shapes)} "
        f"shapes, {len(FLAGS.dtypes)} dtypes, {len(FLAGS.modes)} modes; "
        f"{time.perf_counter() - started:.0f} s on {describe_machine()}."
    )
    return max(worst.values()) <= 1


if __name__ == "__main__":
    app.run(main)
