"""What the networks minimise: the loss, and what is added to it."""

import dataclasses

from sagan.losses import LOSSES, Loss, LossName


@dataclasses.dataclass(frozen=True)
class Objective:
    """Choice of loss; by default SAGAN's, with nothing added.

    Attributes:
        loss: Key of `LOSSES`.
    """

    loss: LossName = "hinge"

    @property
    def losses(self) -> Loss:
        """The losses of the two networks."""
        return LOSSES[self.loss]
