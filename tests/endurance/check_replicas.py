"""Compares losses and weights of training on one replica and on several.

  python tests/endurance/check_replicas.py --data_dir=DIR
  python tests/endurance/check_replicas.py --gin_config=configs/synthetic.gin \\
    --gin_bindings=BASE_CHANNELS=4 --cases=conditional-1

Trains the same tiny network on one replica and on several: logical CPUs of one
process, processes, and a run that is moved between them by its checkpoints.
Prints the largest differences from one replica: of both losses, relative to
the discriminator's, and of weights. The second row is one replica too, with the
same function in other roundings.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl import app, flags

from sagan.cli import define_path, start_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_multi_string("gin_config", ["configs/cifar10.gin"], "Configs.")
flags.DEFINE_multi_string("gin_bindings", [], "Settings that override them.")
define_path("data_dir", "Where TFDS datasets are.")
flags.DEFINE_integer("steps", 20, "Training steps; a multiple of 4.")
flags.DEFINE_float("tolerance", 1e-5, "Largest difference that passes.")
flags.DEFINE_multi_enum(
    "cases",
    None,
    [
        "conditional-1", "conditional-2", "unconditional-1", "unconditional-2",
    ],
    "Which networks, with how many discriminator steps; all by default.",
)  # fmt: skip
flags.DEFINE_string(
    "folder", None, "Where the runs are; a new one if not given."
)
define_path("out", "Where the table is also written.")

# Small rates and a large epsilon, since Adam makes a step of any gradient,
# also of one that is rounding alone: a bias before batch norm has no other.
_COMMON = (
    "BATCH_SIZE = 16",
    "BASE_CHANNELS = 8",
    "train.ema_decay = 0.9",
    "train.ema_start = 0",
    "train.log_every = 1",
    "train.sample_every = 1000",
    "train.num_samples = 8",
    "make_optimizers.g_learning_rate = 1e-5",
    "make_optimizers.d_learning_rate = 1e-5",
    "make_optimizers.epsilon = 1e-3",
    "build_generator.batch_norm = 'synchronized'",
)
_OTHER_ROUNDINGS = (
    "train.joint_batch = False",
    "build_generator.fused_norm = False",
    "build_generator.fused_resampling = False",
    "build_discriminator.fused_resampling = False",
)


def _mirrored(count):
    return (
        "train.strategy = 'mirrored'",
        f"train.num_replicas = {count}",
    )


_NETWORKS = ("generator", "discriminator", "ema_generator")
_PLAIN = str.maketrans(" ,:", "___")

# For each row, by session: the share of the steps made at its end, and the
# settings; None for two processes.
ROWS = {
    "1 x 16": [(1.0, ())],
    "1 x 16, other roundings": [(1.0, _OTHER_ROUNDINGS)],
    "2 x 8 mirrored": [(1.0, _mirrored(2))],
    "4 x 4 mirrored": [(1.0, _mirrored(4))],
    "2 processes x 8": [(1.0, None)],
    "moved: 1, 2 mirrored, 2 processes, 1": [
        (0.25, ()),
        (0.5, _mirrored(2)),
        (0.75, None),
        (1.0, ()),
    ],
}


def train(workdir, case, sessions):
    """Runs the sessions of a row one after the other."""
    kind, d_steps = case.split("-")
    bindings = [*_COMMON, f"train.d_steps = {d_steps}"]
    if kind == "unconditional":
        bindings.append("NUM_CLASSES = 0")
    for share, settings in sessions:
        some = [*bindings, f"NUM_STEPS = {round(share * FLAGS.steps)}"]
        some += [*(settings or ()), *FLAGS.gin_bindings]
        start = ["sagan.launch", "--workers=2", "--"]
        command = [
            sys.executable, "-m", *(["sagan.train"] if settings is not None
            else start), f"--workdir={workdir}",
            *(f"--gin_config={path}" for path in FLAGS.gin_config),
            *(f"--gin_bindings={binding}" for binding in some),
        ]  # fmt: skip
        if FLAGS.data_dir:
            command.append(f"--data_dir={FLAGS.data_dir}")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")


def read(workdir):
    """Returns the losses of each step, and the networks' weights at the end."""
    from sagan.runs.checkpoints import read_checkpoint

    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    losses = [
        [line["d_loss"], line["g_loss"]] for line in map(json.loads, lines)
    ]
    variables = read_checkpoint(workdir / "checkpoints")
    weights = {
        name: value
        for name, value in variables.items()
        if name.split("/")[0] in _NETWORKS
    }
    return np.array(losses), weights


def compare(result, expected):
    """Returns the largest difference of losses, and of weights."""
    (losses, ours), (their_losses, theirs) = result, expected
    # Both are means of logits, whose size the discriminator's loss has; the
    # generator's cancel.
    scale = np.maximum(1.0, np.abs(their_losses[:, :1]))
    if ours.keys() != theirs.keys():
        sys.exit("The checkpoints hold different names.")
    weights = np.max(
        [
            np.max(np.abs(ours[name] - value) / np.maximum(1, np.abs(value)))
            for name, value in theirs.items()
        ]
    )
    return np.max(np.abs(losses - their_losses) / scale), weights


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_tensorflow()
    cases = FLAGS.cases or FLAGS["cases"].parser.enum_values
    lines = [
        "| network, discriminator steps | devices | losses | weights |",
        "| --- | --- | --- | --- |",
    ]
    worst = 0.0
    folder = pathlib.Path(FLAGS.folder or tempfile.mkdtemp())
    for case in cases:
        expected = None
        for row, sessions in ROWS.items():
            workdir = folder / f"{case}_{row}".translate(_PLAIN)
            train(workdir, case, sessions)
            result = read(workdir)
            expected = expected or result
            losses, weights = compare(result, expected)
            worst = np.max([worst, losses, weights])
            name = case.replace("-", ", ")
            lines.append(f"| {name} | {row} | {losses:.1e} | {weights:.1e} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    print(f"\n{table}\nLargest difference: {worst:.1e}.")
    if FLAGS.out:
        pathlib.Path(FLAGS.out).write_text(table)
    if not worst <= FLAGS.tolerance:
        sys.exit(f"Error: that is above {FLAGS.tolerance:.0e}.")


if __name__ == "__main__":
    app.run(main)
