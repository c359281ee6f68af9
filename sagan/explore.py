"""Opens a run, or two side by side, as a page in the browser.

  python -m sagan.explore --workdir=runs/cifar10
  python -m sagan.explore --workdir=runs/cifar10 --workdir=runs/without
  python -m sagan.explore --workdir=runs/cifar10 --out=run.html

Serves this machine only, until Ctrl-C. With --out, writes a file instead that
opens in any browser, without a server.
"""

import contextlib

from absl import app, flags, logging

from sagan import cli

FLAGS = flags.FLAGS
cli.define_paths(
    "workdir", "Folder of the run; repeat it for a second one.", required=True
)
cli.define_path("out", "HTML file to write instead of serving.")
flags.DEFINE_string("host", "127.0.0.1", "Address to serve on.")
flags.DEFINE_integer(
    "port", 6007, "Port to serve on; 0 for any that is free.",
    lower_bound=0, upper_bound=65535,
)  # fmt: skip
cli.define_features_flag()
cli.define_path("data_dir", "Folder of TFDS datasets, for nearest images.")
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        bindings = cli.evaluation_bindings("features")
        if FLAGS.out:
            _write(FLAGS.workdir, bindings, FLAGS.data_dir, FLAGS.out)
            return
        from sagan.explorer.listening import listen, serve
        from sagan.explorer.networks import Run
        from sagan.explorer.server import Explorer

        with listen(FLAGS.host, FLAGS.port) as listening:
            runs = [Run(path, bindings) for path in FLAGS.workdir]
            explorer = Explorer(runs, FLAGS.host, bindings, FLAGS.data_dir)
            with contextlib.closing(explorer):
                serve(explorer, listening)


def _write(workdirs, bindings, data_dir, out):
    from sagan.explorer.shared import write_page

    if len(workdirs) > 1:
        raise ValueError("--out takes one run: give one --workdir.")
    logging.info("%s", write_page(workdirs[0], bindings, out, data_dir))


if __name__ == "__main__":
    app.run(main)
