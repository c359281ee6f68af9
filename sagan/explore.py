"""Opens a run, or two side by side, as a page in the browser.

  python -m sagan.explore --workdir=runs/cifar10
  python -m sagan.explore --workdir=runs/cifar10 --workdir=runs/without

Serves this machine only, until Ctrl-C.
"""

from absl import app, flags

from sagan import cli

FLAGS = flags.FLAGS
cli.define_paths(
    "workdir", "Folder of the run; repeat it for a second one.", required=True
)
flags.DEFINE_string("host", "127.0.0.1", "Address to serve on.")
flags.DEFINE_integer(
    *("port", 6007, "Port to serve on; 0 for any that is free."),
    lower_bound=0,
    upper_bound=65535,
)
cli.define_bindings_flag()


def main(argv):
    with cli.command(argv):
        cli.start_tensorflow()
        from sagan.explorer.listening import listen, serve
        from sagan.explorer.networks import Run
        from sagan.explorer.server import Explorer

        with listen(FLAGS.host, FLAGS.port) as listening:
            runs = [Run(path, FLAGS.gin_bindings) for path in FLAGS.workdir]
            serve(Explorer(runs, FLAGS.host), listening)


if __name__ == "__main__":
    app.run(main)
