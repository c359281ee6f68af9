"""Checks every 1x1 convolution of the networks on this device.

  python scripts/check_pointwise.py
  python scripts/check_pointwise.py --gin_config=configs/celeba.gin

Compares every implementation, values and both gradients, with a loop over
positions in float64. Prints the largest error of each, in units of what
rounding explains; above 1 is wrong, and the exit status is then 1. Without a
config it takes the shapes of all networks in configs/. A GPU's TF32 is off.
"""

import pathlib
import sys
import time

from absl import app, flags

from sagan.cli import command, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", [], "Config whose networks to take.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override it.")
flags.DEFINE_integer("batch_size", 1, "Images a batch.", lower_bound=1)
flags.DEFINE_list("dtypes", ["float32", "bfloat16", "float16"], "Some only.")
flags.DEFINE_list(
    "modes",
    ["eager", "function", "unknown", "jit"],
    "Some only; unknown is a function for any batch and spatial sizes.",
)


def main(argv):
    with command(argv):
        start_tensorflow()
        right = _check()
    sys.exit(0 if right else 1)


def _check():
    import tensorflow as tf

    from sagan.cli import check_choices
    from sagan.layers.pointwise import IMPLEMENTATIONS
    from sagan.profiling import conformance
    from sagan.runs.machine import describe_machine

    check_choices("--dtypes", FLAGS.dtypes, tuple(conformance.ROUNDING))
    check_choices("--modes", FLAGS.modes, conformance.MODES)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    started = time.perf_counter()
    shapes = _shapes()
    worst, wrong = conformance.check(shapes, FLAGS.dtypes, FLAGS.modes)
    print(f"{'':18}" + "".join(f"{name:>16}" for name in IMPLEMENTATIONS))
    for dtype in FLAGS.dtypes:
        for mode in FLAGS.modes:
            found = (worst[dtype, mode, name] for name in IMPLEMENTATIONS)
            line = "".join(f"{error:16.3f}" for error in found)
            print(f"{dtype:10}{mode:8}{line}")
    for line in wrong:
        print(f"WRONG: {line}")
    print(
        f"{len(worst) * len(shapes)} rows: {len(IMPLEMENTATIONS)} "
        f"implementations, {len(shapes)} shapes, {len(FLAGS.dtypes)} dtypes, "
        f"{len(FLAGS.modes)} modes; {time.perf_counter() - started:.0f} s on "
        f"{describe_machine()}."
    )
    return not wrong


def _shapes():
    """Those for one batch; discriminator updates see twice as many images."""
    from sagan.profiling.pointwise import config_shapes

    configs = [FLAGS.gin_config] if FLAGS.gin_config else _shipped()
    return sorted(
        {
            shape
            for config in configs
            for shape in config_shapes(
                config, FLAGS.gin_bindings, FLAGS.batch_size
            )
            if shape.batch == FLAGS.batch_size
        }
    )


def _shipped():
    """All configs but deltas and classifiers, which have not the networks."""
    paths = sorted(pathlib.Path("configs").glob("*.gin"))
    others = ("mixed_", "classifier_")
    return [[str(p)] for p in paths if not p.stem.startswith(others)]


if __name__ == "__main__":
    app.run(main)
