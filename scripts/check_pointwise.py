"""Checks every 1x1 convolution of the networks on this device.

  python scripts/check_pointwise.py
  python scripts/check_pointwise.py --gin_config=configs/celeba.gin

Compares every implementation, values and both gradients, with products in
float64, and prints the largest error of each. Then the other convolutions and
the biases, which have one implementation, pass the check that a run starts
with. The exit status is 1 if anything is wrong, whether or not the config uses
it. Without a config it takes all networks in configs/. TF32 is off.
"""

import dataclasses
import pathlib
import sys
import time

from absl import app, flags

from sagan.cli import command, define_config_flags, start_tensorflow

FLAGS = flags.FLAGS
define_config_flags()
flags.DEFINE_integer("batch_size", 1, "Images in a batch.", lower_bound=1)
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
    shapes, others = _networks()
    worst, wrong = conformance.check(shapes, FLAGS.dtypes, FLAGS.modes)
    print("Largest errors; 1 is what rounding explains, more is wrong.")
    print(f"{'':18}" + "".join(f"{name:>16}" for name in IMPLEMENTATIONS))
    for dtype in FLAGS.dtypes:
        for mode in FLAGS.modes:
            found = (worst[dtype, mode, name] for name in IMPLEMENTATIONS)
            line = "".join(f"{error:16.3f}" for error in found)
            print(f"{dtype:10}{mode:8}{line}")
    for case in wrong:
        print("WRONG:", *case)
    for dtype in FLAGS.dtypes:
        mistaken = {name for name, _, of, *_ in wrong if of == dtype}
        names = [name for name in IMPLEMENTATIONS if name not in mistaken]
        print(f"Right in {dtype}: {', '.join(names) or 'none'}.")
    right = _check_others(others, describe_machine()) and not wrong
    print(
        f"{len(worst) * len(shapes)} rows: {len(IMPLEMENTATIONS)} "
        f"implementations, {len(shapes)} shapes, {len(FLAGS.dtypes)} dtypes, "
        f"{len(FLAGS.modes)} modes; {time.perf_counter() - started:.0f} s on "
        f"{describe_machine()}."
    )
    return right


def _networks():
    """Returns the shapes of 1x1 convolutions, and all other operations.

    Shapes are those for one batch; discriminator updates see twice as many
    images.
    """
    from sagan.config import config_batch_size, parse_config
    from sagan.discriminator import build_discriminator
    from sagan.generator import build_generator
    from sagan.layers.numerics.operations import network_operations
    from sagan.profiling.pointwise import pointwise_shapes

    shapes, operations = set(), set()
    for config in [FLAGS.gin_config] if FLAGS.gin_config else _shipped():
        parse_config(config, FLAGS.gin_bindings)
        networks = build_generator(), build_discriminator()
        shapes |= pointwise_shapes(*networks, FLAGS.batch_size)
        for network in networks:
            operations |= set(network_operations(network, config_batch_size()))
    return (
        sorted(shape for shape in shapes if shape.batch == FLAGS.batch_size),
        [o for o in operations if not o.is_pointwise],
    )


def _check_others(operations, machine):
    """Checks operations in all dtypes and modes as a run does."""
    from sagan.layers.numerics.check import check_operations

    right = True
    for dtype in FLAGS.dtypes:
        cases = sorted(
            {dataclasses.replace(o, dtype=dtype) for o in operations}
        )
        for mode in FLAGS.modes:
            try:
                check_operations(cases, machine, mode)
            except ValueError as error:
                print(f"WRONG: {mode}: {error}")
                right = False
    if right:
        print(f"{len(cases)} other convolutions and biases: all right.")
    return right


def _shipped():
    """Returns the configs of networks: neither deltas nor classifiers."""
    paths = sorted(pathlib.Path("configs").glob("*.gin"))
    others = ("mixed_", "classifier_")
    return [[str(p)] for p in paths if not p.stem.startswith(others)]


if __name__ == "__main__":
    app.run(main)
