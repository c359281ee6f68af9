"""The most memory that a call holds at once."""

import contextlib
import pathlib
from collections.abc import Callable

import tensorflow as tf

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")


def peak_growth(call: Callable[[], object]) -> int | None:
    """Returns by how many bytes memory grows at most while `call` runs.

    Of the GPU if there is one; else the resident size of this process, as
    Linux keeps it. What the allocator still holds from before does not show,
    so a small growth is an underestimate.

    Returns:
        Bytes, or None where neither can be measured.
    """
    if tf.config.list_logical_devices("GPU"):
        device = tf.config.list_logical_devices("GPU")[0].name
        tf.config.experimental.reset_memory_stats(device)
        before = tf.config.experimental.get_memory_info(device)["current"]
        call()
        return tf.config.experimental.get_memory_info(device)["peak"] - before
    with contextlib.suppress(OSError):
        _CLEAR.write_text("5")  # Sets the peak to the present size.
        before = _read("VmRSS")
        call()
        return max(0, _read("VmHWM") - before)
    return None


def _read(name):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}.")
