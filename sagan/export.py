"""Exports the generator of a run, or a classifier, for another runtime.

  python -m sagan.export --workdir=runs/cifar10 --format=onnx --out=cifar10.onnx
  python -m sagan.export --workdir=runs/cifar10 --format=litert \\
    --out=cat.tflite --precision=float16 --pixels=uint8 --label=cat
"""

import dataclasses

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_path("workdir", "Folder of a run or classifier.", required=True)
cli.define_path("out", "File to write, or folder.", required=True)
flags.DEFINE_enum(
    "format", None, ["savedmodel", "litert", "onnx"], "What to write.",
    required=True,
)  # fmt: skip
flags.DEFINE_enum(
    "precision", "float32", ["float32", "float16", "int8"],
    "What weights are stored in.",
)  # fmt: skip
flags.DEFINE_integer(
    "batch", None, "Size of batches; any if absent.", lower_bound=1
)
flags.DEFINE_string("step", "last", "last, best or a step.")
flags.DEFINE_boolean("ema", True, "Use the moving average of the weights.")
flags.DEFINE_enum(
    "statistics", "moving", ["moving", "standing"],
    "Batch norm moments: moving, or standing ones of these very weights.",
)  # fmt: skip
flags.DEFINE_boolean("attention", False, "Return the attention maps too.")
flags.DEFINE_enum("pixels", "float32", ["float32", "uint8"], "Dtype of images.")
flags.DEFINE_string("label", None, "Export one class, without labels as input.")
cli.define_path("data_dir", "Folder of TFDS datasets, for a classifier.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        import tensorflow as tf

        from sagan.exporting.export import export_run
        from sagan.exporting.program import Options

        # The other runtimes compute on the CPU, and are compared with it.
        tf.config.set_visible_devices([], "GPU")
        names = [field.name for field in dataclasses.fields(Options)]
        options = Options(**{name: FLAGS[name].value for name in names})
        place = FLAGS.workdir, FLAGS.gin_bindings, FLAGS.data_dir
        for line in export_run(*place, FLAGS.format, FLAGS.out, options):
            print(line)


if __name__ == "__main__":
    app.run(main)
