"""Times the training step of mimicry's SAGAN, in PyTorch, as a peer.

In an environment of its own, since PyTorch and TensorFlow in one process crash:

  python -m venv peer
  peer/bin/pip install torch torchvision absl-py tensorboard scikit-image \\
    scikit-learn
  peer/bin/pip install --no-deps torch-mimicry  # 0.1.16, with torch 2.14.1
  peer/bin/python scripts/benchmark_peer.py --size=32 --precision=bfloat16
  env MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=99999999999 \\
    MALLOC_TOP_PAD_=67108864 peer/bin/python scripts/benchmark_peer.py

The networks are those of configs/cifar10.gin and configs/imagenet128.gin, with
as many parameters but for the discriminator of 128 pixels, which has fewer. The
line is the one that scripts/benchmark_step.py prints for each form.
"""

import importlib.machinery
import statistics
import sys
import time
import types

from absl import app, flags

FLAGS = flags.FLAGS
flags.DEFINE_enum("size", "32", ["32", "128"], "Width of the images.")
flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=1)
flags.DEFINE_integer("d_steps", 5, "Discriminator updates.", lower_bound=1)
flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "bfloat16 by autocast."
)
flags.DEFINE_bool("channels_last", True, "Layout of the activations.")
flags.DEFINE_integer("samples", 9, "Steps to time.", lower_bound=3)


def _import_networks():
    """Imports mimicry's SAGAN without what its metrics import.

    They need TensorFlow 1 and a module that PyTorch no longer has.
    """
    import torch.utils.tensorboard  # noqa: F401  Would take what is put there.

    for name in ("tensorflow", "torch._six"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        module.PY3 = True
        sys.modules[name] = module
    from torch_mimicry.nets.sagan import sagan_32, sagan_128

    return {"32": sagan_32, "128": sagan_128}


def _make(size):
    networks = _import_networks()[size]
    if size == "32":
        return (
            networks.SAGANGenerator32(num_classes=10),
            networks.SAGANDiscriminator32(num_classes=10),
        )
    return (
        networks.SAGANGenerator128(num_classes=1000),
        networks.SAGANDiscriminator128(num_classes=1000, ndf=1024),
    )


def _make_step(generator, discriminator):
    """Returns a function that takes one training step on constant images."""
    import torch

    layout = (
        torch.channels_last if FLAGS.channels_last else torch.contiguous_format
    )
    size, batch = int(FLAGS.size), FLAGS.batch_size
    images = torch.rand(batch, 3, size, size) * 2 - 1
    labels = torch.randint(generator.num_classes, (batch,))
    real = images.to(memory_format=layout), labels
    optimizers = []
    for network in (generator, discriminator):
        network.train().to(memory_format=layout)
        parameters = network.parameters()
        optimizers.append(torch.optim.Adam(parameters, 2e-4, betas=(0.0, 0.9)))
    g_optimizer, d_optimizer = optimizers
    log = types.SimpleNamespace(add_metric=lambda *_, **__: None)

    def step():
        enabled = FLAGS.precision == "bfloat16"
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            for _ in range(FLAGS.d_steps):
                discriminator.train_step(
                    real, netG=generator, optD=d_optimizer, log_data=log
                )
            generator.train_step(
                real, netD=discriminator, optG=g_optimizer, log_data=log
            )

    return step


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    try:
        networks = _make(FLAGS.size)
    except ImportError as error:
        sys.exit(
            f"Error: {error}. Make an environment for PyTorch and mimicry as "
            "the head of this file says, and run it there."
        )
    step = _make_step(*networks)
    step()
    seconds = []
    for _ in range(FLAGS.samples):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    lower, _, upper = statistics.quantiles(seconds, n=4, method="inclusive")
    g_count, d_count = (
        sum(parameter.numel() for parameter in network.parameters())
        for network in networks
    )
    print(
        f"mimicry: {statistics.median(seconds):.3f} [{lower:.3f}, {upper:.3f}] "
        f"seconds a step, batch {FLAGS.batch_size}, {FLAGS.d_steps} D + 1 G, "
        f"{FLAGS.precision}, parameters G {g_count:,} D {d_count:,}"
    )


if __name__ == "__main__":
    app.run(main)
