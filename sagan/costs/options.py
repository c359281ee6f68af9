"""What a user says of the devices to plan for."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of `python -m sagan.summary`, checked.

    Attributes:
        gflops: GFLOP/s that a device reaches; None to measure this machine.
        bandwidth: GB/s of a device's memory; None likewise.
        memory: GB of a device, or None.
        devices: How many share each batch.
        allreduce: GB/s from a device to the next; None with one device.
        measure: Whether to run some steps and compare.

    Raises:
        ValueError: If a value is out of range or values do not go together.
    """

    gflops: float | None = None
    bandwidth: float | None = None
    memory: float | None = None
    devices: int = 1
    allreduce: float | None = None
    measure: bool = False

    @classmethod
    def names(cls) -> list[str]:
        """Returns the names of the flags."""
        return [field.name for field in dataclasses.fields(cls)]

    def __post_init__(self):
        for name in ("gflops", "bandwidth", "memory", "allreduce"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(
                    f"--{name} is {value:g}: expected a positive number."
                )
        if self.devices < 1:
            raise ValueError(
                f"--devices is {self.devices}: expected an integer of at "
                "least 1."
            )
        if (self.gflops is None) != (self.bandwidth is None):
            raise ValueError(
                "--gflops and --bandwidth describe one device: give both, or "
                "neither to measure this machine."
            )
        if (self.devices > 1) != (self.allreduce is not None):
            raise ValueError(
                "--allreduce is the GB/s between devices: it is needed with "
                f"--devices above 1, and only then; --devices is "
                f"{self.devices}."
            )
        if self.measure and (self.gflops is not None or self.devices > 1):
            raise ValueError(
                "--measure runs steps on this machine: leave out --gflops, "
                "--bandwidth and --devices."
            )
