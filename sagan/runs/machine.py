"""The name of this machine, and the memory a process has held on it."""

import os
import pathlib
import platform
import re
import resource
import sys

import tensorflow as tf


def describe_machine() -> str:
    """Returns the name of the accelerator, or of the processor and its cores.

    As in "2 cores of AMD EPYC-Milan Processor", or "2 cores of Intel(R) Xeon(R)
    Processor with AMX" for a processor with instructions for 16-bit products.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        name = details.get("device_name", "GPU")
        return name if len(gpus) == 1 else f"{len(gpus)} x {name}"
    return f"{_cores()} cores of {_processor()}"


def peak_memory_bytes() -> int:
    """Returns the peak memory so far: of the GPU if there is one.

    On a CPU it is the peak resident size of the process.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_memory_info(gpus[0].name)["peak"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cores():
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS.
        return os.cpu_count()


def _processor():
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    model = re.search(r"^model name\s*: *(.*\S)", text, re.MULTILINE)
    if not model:
        return platform.processor() or platform.machine()
    amx = " with AMX" if re.search(r"\bamx_bf16\b", text) else ""
    return model[1] + amx
