"""The most memory that a call holds at once."""

import pathlib
from collections.abc import Callable

import tensorflow as tf

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")


def peak_growth(call: Callable[[], object]) -> int | None:
    """Returns by how many bytes memory grows at most while `call` runs.

    As TensorFlow's allocator counts it, on a GPU, and on a CPU with oneDNN
    (which rounds large tensors up, to less than twice their size). Else it is
    the growth of the resident size of this process, on Linux, where memory
    that was freed before but kept does not show.

    Returns:
        Bytes, or None where none of them can be measured.
    """
    memory = tf.config.experimental
    device = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    try:
        memory.reset_memory_stats(device)
    except ValueError:  # This allocator does not count.
        return _resident_growth(call)
    before = memory.get_memory_info(device)["current"]
    call()
    return max(0, memory.get_memory_info(device)["peak"] - before)


def _resident_growth(call):
    try:
        _CLEAR.write_text("5")  # Sets the peak to the present size.
        before = _read("VmRSS")
    except OSError:
        return None
    call()
    return max(0, _read("VmHWM") - before)


def _read(name):
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}.")
