"""What the networks minimise: the loss, and what is added to it."""

import dataclasses

import tensorflow as tf

from sagan.layers.fused_elementwise import fusing
from sagan.layers.precision import in_float32
from sagan.layers.spectral_norm import kernel_layers
from sagan.losses import LOSSES, Loss, LossName
from sagan.objective.augmentation import augment, draw_augmentations
from sagan.objective.penalties import (
    consistency,
    gradient_penalty,
    lecam,
    orthogonality,
)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Choice of loss and weights of what is added to it; by default SAGAN's.

    Attributes:
        loss: Key of `LOSSES`.
        augmentations: Those of `augment` that all images pass through on their
            way to the discriminator.
        r1: Gamma of the gradient penalty on real images.
        r2: Gamma of that on generated images.
        penalty_every: Steps between updates with these two, whose weights are
            multiplied by it.
        real_consistency: Weight of `consistency` on real images.
        fake_consistency: Weight of that on generated images.
        lecam: Weight of `lecam`.
        lecam_decay: Decay of its moving averages.
        lecam_start: Step until which they are the logits' last means, and
            nothing is added.
        g_orthogonality: Weight of `orthogonality` of the generator's kernels.
        d_orthogonality: Weight of that of the discriminator's.
    """

    loss: LossName = "hinge"
    augmentations: tuple[str, ...] = ()
    r1: float = 0.0
    r2: float = 0.0
    penalty_every: int = 1
    real_consistency: float = 0.0
    fake_consistency: float = 0.0
    lecam: float = 0.0
    lecam_decay: float = 0.99
    lecam_start: int = 1000
    g_orthogonality: float = 0.0
    d_orthogonality: float = 0.0

    @property
    def losses(self) -> Loss:
        """The losses of the two networks."""
        return LOSSES[self.loss]

    @property
    def consistent(self) -> bool:
        """Whether logits of augmented images are asked to be the same."""
        return bool(self.real_consistency or self.fake_consistency)

    def draw(self, num_images: int, seed) -> tf.Tensor | None:
        """Draws what augmentations need, see `draw_augmentations`; or None."""
        if not (self.augmentations or self.consistent):
            return None
        return draw_augmentations(num_images, seed)

    def augment(self, images, noise, i: int) -> tf.Tensor:
        """Augments the images that the discriminator is to see.

        Args:
            images: Images as they are.
            noise: What `draw` returned for their batch.
            i: 0 for real images, 1 for generated ones.
        """
        if not self.augmentations:
            return images
        return augment(images, noise[:, i], self.augmentations)

    def gradient_penalties(self, discriminator, real, fake, noise, step):
        """Returns R1 and R2 as terms; zero at steps without.

        With a forward pass of its own, which leaves `u` as it is, in float32
        under any policy: squares of gradients leave the range of float16. The
        gradients are those by the images before augmentation.

        Args:
            discriminator: The `Discriminator`.
            real: Real images and their labels.
            fake: Generated images and their labels.
            noise: What `draw` returned.
            step: Number of the step, from 0.
        """
        gammas = {"r1": self.r1, "r2": self.r2}
        names = [name for name, gamma in gammas.items() if gamma]
        if not names:
            return {}

        def penalty(name):
            i = list(gammas).index(name)
            images, labels = (real, fake)[i]
            return gradient_penalty(
                lambda images: discriminator(
                    self.augment(images, noise, i), labels, training=False
                ),
                images,
            )

        def penalties():
            with in_float32(discriminator), fusing(False):
                return [penalty(name) for name in names]

        values = tf.cond(
            tf.equal((step + 1) % self.penalty_every, 0),
            penalties,
            lambda: [tf.constant(0.0) for _ in names],
        )
        return {
            name: (gammas[name] * self.penalty_every / 2.0, value)
            for name, value in zip(names, values, strict=True)
        }

    def consistencies(self, logits, others):
        """Returns bCR as terms.

        Args:
            logits: Those of real and of generated images.
            others: Those of the same images after `flip_and_shift`.
        """
        weights = self.real_consistency, self.fake_consistency
        return {
            name: (weight, consistency(*pair))
            for name, weight, *pair in zip(
                ("real_consistency", "fake_consistency"),
                weights,
                logits,
                others,
                strict=True,
            )
            if weight
        }

    def lecams(self, real_logits, fake_logits, anchors, step):
        """Returns LeCam as a term; its weight is zero until `lecam_start`.

        Args:
            real_logits: Logits of real images.
            fake_logits: Logits of generated images.
            anchors: Moving averages of the two, `[2]`, float32.
            step: Number of the step, from 0.
        """
        if not self.lecam:
            return {}
        value = lecam(real_logits, fake_logits, *tf.unstack(anchors))
        weight = tf.where(step < self.lecam_start, 0.0, self.lecam)
        return {"lecam": (weight, value)}

    def move_anchors(self, anchors, means, step) -> None:
        """Moves the averages of logits by one update.

        Args:
            anchors: Variable, `[2]`, float32.
            means: Means of the logits of real and of generated images.
            step: Number of the step, from 0.
        """
        decay = tf.where(step < self.lecam_start, 0.0, self.lecam_decay)
        moved = decay * anchors + (1.0 - decay) * tf.stack(means)
        # A float16 batch may overflow; loss scaling skips its update.
        finite = tf.reduce_all(tf.math.is_finite(moved))
        anchors.assign(tf.where(finite, moved, anchors))

    def orthogonalities(self, network, letter: str):
        """Returns the term of a network's kernels.

        Args:
            network: The generator or the discriminator.
            letter: "g" or "d".
        """
        name = f"{letter}_orthogonality"
        weight = getattr(self, name)
        if not weight:
            return {}
        kernels = [
            tf.convert_to_tensor(layer.kernel)
            for layer in kernel_layers(network)
        ]
        return {name: (weight, orthogonality(kernels))}


def add_terms(loss, terms, scalars):
    """Returns a loss plus weighted terms, and its scalars plus the terms.

    Args:
        loss: Scalar, float32.
        terms: Weight and value by name.
        scalars: Scalars by name.
    """
    for weight, value in terms.values():
        loss += weight * value
    return loss, scalars | {name: value for name, (_, value) in terms.items()}
