"""Shared by the commands: flags, logging, short errors, a quiet TensorFlow."""

import contextlib
import logging as stdlib_logging
import os
import pathlib
import signal
import sys
import traceback

from absl import app, flags, logging

from sagan.config.paths import local_path

# The flags defined here are those of the command that asks for them.
flags.disclaim_key_flags()
_PACKAGE = str(pathlib.Path(__file__).parent)
_OF_CHECKPOINTS = (
    "Value in checkpoint could not be found",
    "Detecting that an object or model or tf.train.Checkpoint is being deleted",
)
_FOR_THE_USER = (
    ValueError,
    OSError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
)


def interrupt_on_sigterm():
    """Lets SIGTERM end the process as Ctrl-C does, by `KeyboardInterrupt`."""

    def interrupt(number, frame):
        del frame
        raise KeyboardInterrupt(signal.Signals(number).name)

    signal.signal(signal.SIGTERM, interrupt)


@contextlib.contextmanager
def sigterm_held_back():
    """Lets SIGTERM wait while inside, under the handler there was before.

    TensorFlow replaces Python's handler by its own, which does nothing here.
    Threads created inside never take the signal.
    """
    handler = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def command(argv, worker: bool = False):
    """What a command runs within: logs, short errors, flags as arguments only.

    Args:
        argv: What absl passes to `main`.
        worker: Whether the process may be one of several workers.

    Raises:
        UsageError: If `argv` has more than the command's name.
    """
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected argument {argv[1]!r}.")
    start_logging()
    interrupt_on_sigterm()
    with end_at_once() if worker else contextlib.nullcontext(), short_errors():
        yield


def start_logging():
    """Logs to the terminal from INFO on, in short lines."""
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.setFormatter(
        stdlib_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    handler.addFilter(_is_for_the_user)


def _is_for_the_user(record):
    """Whether a log record is of this project, or a warning worth reading.

    TensorFlow and TFDS log through absl too: progress, deprecations in their
    own code, and each variable of a checkpoint that does not fit, of which the
    error says a few.
    """
    if record.pathname.startswith(_PACKAGE):
        return True
    if "site-packages" not in record.pathname:
        return True
    message = record.getMessage()
    if message.startswith(_OF_CHECKPOINTS):
        return False
    return record.levelno > stdlib_logging.INFO and "deprecat" not in message


def start_tensorflow():
    """Imports TensorFlow without its start-up lines and sets up GPU memory.

    TensorFlow writes some lines to file descriptor 2 whatever its log level,
    so that is closed around the import. GPU memory is taken as needed rather
    than all at once.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow's threads must leave SIGTERM to Python's.
    with sigterm_held_back(), silent_stderr():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    if not gpus and os.path.exists("/proc/driver/nvidia/version"):
        logging.warning(
            "This machine has an NVIDIA driver, but TensorFlow finds no GPU "
            "and will use the CPU. Its CUDA libraries come with "
            "pip install -e '.[cuda]'."
        )


@contextlib.contextmanager
def end_at_once():
    """Ends a worker of several without TensorFlow's shutdown.

    That waits for the other workers, which may take a minute, and complains
    of those that have ended.
    """
    code = 0
    try:
        yield
    except (Exception, SystemExit) as error:
        if "TF_CONFIG" not in os.environ:
            raise
        if not isinstance(error, SystemExit):
            traceback.print_exc()
            code = 1
        elif isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            code = 1
        else:
            code = error.code or 0
    if "TF_CONFIG" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def short_errors():
    """Ends the command with one line where this project raised the error.

    Such an error, or one of gin, is meant for the user: its message names what
    is wrong and the fix. Any other keeps its traceback. SIGTERM and Ctrl-C,
    where the training loop does not wait for the end of a step, end the command
    at once, with the exit status that shells give it then.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        name = str(error) or "SIGINT"
        print(
            f"Stopped at once by {name}. Nothing is half-written; a run "
            "resumes from its newest checkpoint.",
            file=sys.stderr,
        )
        sys.exit(128 + signal.Signals[name])
    except _FOR_THE_USER as error:
        origin = traceback.extract_tb(error.__traceback__)[-1].filename
        if not origin.startswith(_PACKAGE) and "gin" not in origin.split("/"):
            raise
        sys.exit(f"Error: {short_message(error)}")


def short_message(error: Exception) -> str:
    """Returns an error's message without what gin appends to it.

    That is where a configurable was called from.
    """
    return str(error).split("\n  In call to configurable")[0]


@contextlib.contextmanager
def silent_stderr():
    """Drops what is written to file descriptor 2 while inside.

    C++ libraries write there whatever their log level.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as null:
        os.dup2(null.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class _PathParser(flags.ArgumentParser):
    """Expands `~`, and refuses what is no local path."""

    def __init__(self, name):
        self.name = name

    def parse(self, argument):
        return local_path(argument, f"--{self.name}")


def define_path(
    name: str, help_text: str, default: str | None = None, required=False
) -> None:
    """Defines a flag that takes the path of a local file or folder."""
    flags.DEFINE(
        *(_PathParser(name), name, default, help_text),
        serializer=flags.ArgumentSerializer(),
        required=required,
    )


def define_paths(name: str, help_text: str, required=False) -> None:
    """Defines a flag that is repeated for more paths of local files."""
    flags.DEFINE_multi(
        *(_PathParser(name), flags.ArgumentSerializer()),
        *(name, None if required else [], help_text),
        required=required,
    )


def define_config_flags() -> None:
    """Defines --gin_config and --gin_bindings."""
    define_paths(
        "gin_config", "Config file; repeat it to override one with the next."
    )
    define_bindings_flag("Setting that overrides the files")


def define_bindings_flag(
    what: str = "Setting that overrides the run's",
) -> None:
    """Defines --gin_bindings."""
    flags.DEFINE_multi_string(
        "gin_bindings", [], f"{what}, such as \"POINTWISE='matmul'\"."
    )


def define_features_flag() -> None:
    """Defines --features."""
    meaning = "classifier, inception or a path; the config's if absent."
    flags.DEFINE_string("features", None, meaning)


def evaluation_bindings(*names: str) -> list[str]:
    """Returns --gin_bindings, and flags as bindings of `make_evaluation`.

    They are settings, like any other: what is scored is what the config says.
    """
    values = {name: flags.FLAGS[name].value for name in names}
    given = [
        f"make_evaluation.{name} = {value!r}"
        for name, value in values.items()
        if value is not None
    ]
    return [*flags.FLAGS.gin_bindings, *given]


def define_data_flags() -> None:
    """Defines --data_dir and --download."""
    define_path("data_dir", "Folder of TFDS datasets.")
    flags.DEFINE_boolean(
        "download", False, "Download and prepare the dataset if it is missing."
    )


def check_choices(name: str, values, known) -> None:
    """Checks that `values` are some of `known`, each once.

    Raises:
        ValueError: If there is none, or one is not, naming it.
    """
    if not values or len(set(values)) < len(values):
        raise ValueError(
            f"{name} is {','.join(values)!r}: expected some of "
            f"{', '.join(known)}, each once."
        )
    for value in values:
        if value not in known:
            raise ValueError(
                f"{name} has {value!r}: expected one of {', '.join(known)}."
            )
