"""What goes wrong while images are read, said in one line."""

import contextlib
import re

import tensorflow as tf

# What TensorFlow then ends everything with, reading too.
_LOST_WORKER = "Collective ops is aborted"


@contextlib.contextmanager
def reading(source: str, fix: str):
    """Turns an error of tf.data inside into an OSError of one line.

    Whatever goes wrong in a pipeline, from a missing file to a broken image,
    comes out of its iterator as an error of TensorFlow, with the name of the
    operation before the reason and a traceback after it.

    Args:
        source: What is read, and where it is.
        fix: What to do about it.

    Raises:
        OSError: Instead of a `tf.errors.OpError`.
    """
    try:
        yield
    except tf.errors.OpError as error:
        if _LOST_WORKER in str(error):
            raise
        raise OSError(
            f"{source} cannot be read: {_reason(str(error))}. {fix} A run "
            "then goes on from its last checkpoint by the same command."
        ) from error


def _reason(message):
    message = re.sub(r"^\{\{function_node .*?\}\} ", "", message)
    message = re.sub(
        r"^Error in user-defined function passed to .*? transformation with "
        r"iterator: \S+: ",
        "",
        message,
    )
    line = message.split("\n")[0].split(" [Op:")[0]
    # Of `tf.debugging.Assert`, which also quotes quotes.
    line = re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line)
    return f"{line:.300}".replace("\\'", "'").rstrip(". ")
