"""From a config to seconds a step, memory, and days of a run."""

import dataclasses
import math

import gin

from sagan.benchmarks.config_values import config_batch_size, train_settings
from sagan.costs.memory import Memory
from sagan.costs.rates import Rates
from sagan.costs.step import Update
from sagan.settings import check_integers

_SECONDS_A_DAY = 86_400


@dataclasses.dataclass(frozen=True)
class Run:
    """What a config says of the length of its run.

    Attributes:
        batch_size: Images a batch, over all devices.
        d_steps: Discriminator updates in a step.
        num_steps: Steps in all.
    """

    batch_size: int
    d_steps: int
    num_steps: int

    def batch_on_each(self, devices: int) -> int:
        """Returns the images a batch has on each of `devices`.

        Raises:
            ValueError: If the batch cannot be shared out evenly.
        """
        if self.batch_size % devices:
            raise ValueError(
                f"A batch of {self.batch_size} cannot be shared evenly by "
                f"--devices={devices}: expected a divisor of it, or bind "
                "another make_dataset.batch_size."
            )
        return self.batch_size // devices


def config_run() -> Run:
    """Returns the `Run` of the config that is parsed.

    Raises:
        ValueError: If a value is missing or no positive integer.
    """
    batch_size = config_batch_size()
    check_integers("make_dataset", 1, batch_size=batch_size)
    steps = {
        "d_steps": train_settings()["d_steps"],
        "num_steps": gin.get_bindings("train").get("num_steps"),
    }
    check_integers("train", 1, **steps)
    return Run(batch_size, **steps)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Of a run on some devices, each with an equal share of every batch.

    Attributes:
        run: The `Run`.
        updates: Of a step on one device's share of the batch.
        memory: Of one device.
        rates: Of one device.
        devices: How many.
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
        """Seconds a step computes."""
        return sum(
            update.times * sum(map(self.rates.seconds, update.costs))
            for update in self.updates
        )

    @property
    def communicating(self) -> float:
        """Seconds a step adds up gradients, after each update's are done."""
        return sum(
            update.times
            * allreduce_seconds(
                update.gradient_bytes, self.devices, self.allreduce
            )
            for update in self.updates
        )

    @property
    def step(self) -> float:
        """Seconds a step takes."""
        return self.computing + self.communicating

    @property
    def days(self) -> float:
        """Days the run takes, without data, samples and checkpoints."""
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
        size: Of one device's gradients, bytes.
        devices: How many.
        bandwidth: Bytes/s from one device to the next.
    """
    return 2 * (devices - 1) / devices * size / bandwidth
