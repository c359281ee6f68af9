"""Seconds of a step by part, from TensorFlow's profiler.

It needs `tensorflow.tsl`, which comes with TensorFlow but is not promised.
"""

import collections
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf

from sagan.profiling.flops import PARTS, part_of
from sagan.profiling.timing import wait

# What the profiler calls an operation: its name, a colon, its type.
_OPERATION = re.compile(r"([\w./-]+):(\w+)")
# What XLA makes of the elementwise operations of layers/fused_elementwise.py.
_FUSION = re.compile(r"[\w.]*fusion[\w.]*")
# In the types of convolutions and matrix products, also those of oneDNN.
_PRODUCT = re.compile(r"Conv2D|MatMul|Einsum|Conv3D|Dot")


@dataclasses.dataclass
class PartSeconds:
    """Seconds of the operations of a part: products, and everything else."""

    products: float = 0.0
    rest: float = 0.0

    @property
    def total(self) -> float:
        return self.products + self.rest


def seconds_by_part(
    call: Callable[[], object], calls: int = 3
) -> dict[str, PartSeconds]:
    """Profiles a call.

    Args:
        call: The call; it has run before, so that nothing is traced.
        calls: Number of calls to profile.

    Returns:
        By part of a step the mean seconds of its operations, summed over
        threads that run at the same time, so that the total may exceed a
        step's. Empty where operations cannot be told apart, as under XLA.
    """
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        for _ in range(calls):
            call()
            wait()
        tf.profiler.experimental.stop()
        sums, fusions = collections.defaultdict(PartSeconds), 0.0
        for name, kind, seconds in _operations(folder):
            if _FUSION.fullmatch(kind):
                fusions += seconds
                continue
            part = sums[part_of(name, kind)]
            if _PRODUCT.search(kind):
                part.products += seconds / calls
            else:
                part.rest += seconds / calls
    if "3x3 convolutions" in sums:  # Else XLA compiled all of them.
        sums["relu and sums"].rest += fusions / calls
    return {part: sums[part] for part in PARTS if part in sums}


def _operations(folder) -> Iterator[tuple[str, str, float]]:
    """Yields name, type and seconds of every operation in a profile.

    Those of the GPU if there is one, whose kernels name their operation in a
    statistic; else those of the CPU.
    """
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    for path in pathlib.Path(folder).rglob("*.xplane.pb"):
        space.MergeFromString(path.read_bytes())
    planes = [p for p in space.planes if p.name.startswith("/device:GPU")]
    for plane in planes or space.planes:
        for line in plane.lines:
            for event in line.events:
                name = _name(plane, event)
                operation = _OPERATION.fullmatch(name)
                # A call's own time contains that of what it calls.
                seconds = event.duration_ps / 1e12
                if operation and not operation[2].endswith("PartitionedCall"):
                    yield *operation.groups(), seconds
                elif _FUSION.fullmatch(name):
                    yield "relu", name, seconds


def _name(plane, event):
    for statistic in event.stats:
        if plane.stat_metadata[statistic.metadata_id].name == "tf_op":
            reference = plane.stat_metadata[statistic.ref_value].name
            return statistic.str_value or reference
    return plane.event_metadata[event.metadata_id].name
