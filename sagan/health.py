"""Signs that a run has gone wrong: values that are not finite, and collapse."""

import math

from absl import logging

# Dynamic loss scaling skips an update whose gradients overflow and halves the
# scale, so some steps in a row may fail before the scale fits.
_MAX_SKIPPED = 30
# Below this share of the real images' spread, samples are called constant.
_CONSTANT = 0.1
# This many logged steps in a row, all logits on the right side.
_ONE_SIDED = 20


class Health:
    """Watches the scalars of a run.

    Args:
        scaled_loss: Whether losses are scaled dynamically, in which case
            values that are not finite are expected now and then.
    """

    def __init__(self, scaled_loss: bool):
        self.allowed = _MAX_SKIPPED if scaled_loss else 0
        self.failures = 0
        self.one_sided = 0
        self.warned = set()

    def check_finite(self, step: int, scalars, last_good) -> bool:
        """Checks the scalars of a step.

        Args:
            step: Of the scalars.
            scalars: Floats by name.
            last_good: Path of the last checkpoint, or None.

        Returns:
            Whether all are finite.

        Raises:
            FloatingPointError: If they are not, more often in a row than loss
                scaling explains.
        """
        bad = {k: v for k, v in scalars.items() if not math.isfinite(v)}
        if not bad:
            self.failures = 0
            return True
        self.failures += 1
        if self.failures <= self.allowed:
            return False
        values = ", ".join(f"{k} is {v}" for k, v in sorted(bad.items()))
        raise FloatingPointError(
            f"Step {step}: {values}. The run stops; its last good checkpoint "
            f"is {last_good or 'none: it had not saved yet'}. Try lower "
            "learning rates or build_generator.precision = 'float32'."
        )

    def check_collapse(self, step: int, scalars) -> None:
        """Logs a warning when a sign of collapse begins to show."""
        spread = scalars["fake_std"] / max(scalars["real_std"], 1e-8)
        self._warn(
            spread < _CONSTANT,
            "Step %d: the samples of a batch hardly differ (their spread is "
            "%.3f of the real images'): the generator may have collapsed.",
            step,
            spread,
        )
        right = min(scalars["real_accuracy"], scalars["fake_accuracy"]) == 1.0
        self.one_sided = self.one_sided + 1 if right else 0
        self._warn(
            self.one_sided >= _ONE_SIDED,
            "Step %d: the discriminator has told every image apart at the "
            "last %d logged steps: the generator may get no useful gradient.",
            step,
            _ONE_SIDED,
        )

    def _warn(self, condition, message, *values):
        if not condition:
            self.warned.discard(message)
        elif message not in self.warned:
            self.warned.add(message)
            logging.warning(message, *values)
