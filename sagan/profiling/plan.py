"""Predicted cost of a run, and the options of the prediction."""

import dataclasses
import math

import gin

from sagan.config import Count, config_batch_size, mismatch, train_settings
from sagan.profiling.memory import Memory
from sagan.profiling.rates import Rates
from sagan.profiling.step import Update

_SECONDS_A_DAY = 86_400


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

    def __post_init__(self):
        for name in ("gflops", "bandwidth", "memory", "allreduce"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
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


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config says of the length of its run.

    Attributes:
        batch_size: Images in a batch, over all devices.
        d_steps: Discriminator updates in a step.
        num_steps: Number of steps.
    """

    batch_size: int
    d_steps: int
    num_steps: int

    def batch_on_each(self, devices: int) -> int:
        """Returns the images of a batch on each of `devices`.

        Raises:
            ValueError: If they cannot share it evenly.
        """
        if self.batch_size % devices:
            raise ValueError(
                f"A batch of {self.batch_size} cannot be shared evenly by "
                f"--devices={devices}: expected a divisor of it, or bind "
                "another make_dataset.batch_size."
            )
        return self.batch_size // devices


def config_run() -> Run:
    """Returns the `Run` of the parsed config.

    Raises:
        ValueError: If a value is missing or no positive integer.
    """
    batch_size = config_batch_size()
    d_steps = train_settings()["d_steps"]
    num_steps = gin.get_bindings("train").get("num_steps")
    for name, value in (
        ("make_dataset.batch_size", batch_size),
        ("train.d_steps", d_steps),
        ("train.num_steps", num_steps),
    ):
        if expected := mismatch(value, Count):
            raise ValueError(f"{name} is {value!r}: expected {expected}.")
    return Run(batch_size, d_steps, num_steps)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Cost of a run on some devices, each with an equal share of every batch.

    Attributes:
        run: The `Run`.
        updates: Parts of a step on one device's share of the batch.
        memory: Memory of one device.
        rates: Rates of one device.
        devices: Number of devices.
        allreduce: Bytes/s at which a device sends, and at once receives.
    """

    run: Run
    updates: list[Update]
    memory: Memory
    rates: Rates
    devices: int = 1
    allreduce: float = math.inf

    @property
    def computing(self) -> float:
        """Seconds of computation in a step."""
        return sum(
            update.times * sum(map(self.rates.seconds, update.costs))
            for update in self.updates
        )

    @property
    def communicating(self) -> float:
        """Seconds in which a step adds up gradients, after each update."""
        return sum(
            update.times
            * allreduce_seconds(
                update.gradient_bytes, self.devices, self.allreduce
            )
            for update in self.updates
        )

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return self.computing + self.communicating

    @property
    def days(self) -> float:
        """Days of the run, without data, samples and checkpoints."""
        return self.run.num_steps * self.step / _SECONDS_A_DAY

    @property
    def device_hours(self) -> float:
        """Hours of all devices together."""
        return 24 * self.days * self.devices


def allreduce_seconds(size: int, devices: int, bandwidth: float) -> float:
    """Returns how long a ring of devices takes to add up its gradients.

    Each device sends `2 (devices - 1) / devices` times what it holds: once
    around to add up, and once around to share the sums.

    Args:
        size: Bytes of one device's gradients.
        devices: Number of devices.
        bandwidth: Bytes/s from one device to the next.
    """
    return 2 * (devices - 1) / devices * size / bandwidth
