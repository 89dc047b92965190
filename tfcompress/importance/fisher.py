"""The estimated change of the loss without a channel, to second order, by a diagonal Hessian."""

from dataclasses import dataclass
from typing import ClassVar

from tfcompress import expect

__all__ = ["Fisher"]


@dataclass(frozen=True)
class Fisher:
    """Diagonal of the Hessian by the empirical Fisher information: 1/2 sum over w of w^2 * mean over samples of g^2.

    Theis et al. (2018), "Faster gaze prediction with dense networks and Fisher pruning" (arXiv:1801.05787), section
    2.1: at a minimum of a log loss the Hessian is the Fisher information, whose diagonal is the mean of the squared
    gradients of single samples, and removing w costs w^2 / 2 times that. Summed over all learned weights that write,
    read or carry the channel.

    The gradients are those of single samples: each runs alone, because squares of a batch's mean gradient would differ
    (with `batch_size=b` the score is about b times smaller, and noisier). So few samples are used.

    Attributes:
        samples: maximum number of calibration samples.
        batch_size: samples whose mean gradient is squared; 1 is the Fisher information.
    """

    name: ClassVar[str] = "fisher"

    samples: int = 64
    batch_size: int = 1

    def __post_init__(self):
        expect.settings(self, expect.whole, "samples", "batch_size", least=1)

    def __call__(self, group, evidence):
        """Returns the scores of a group.

        Args:
            group: a `ChannelGroup`.
            evidence: `Evidence` on the model, with data and a loss.

        Returns:
            float32 `[size]`.

        Raises:
            MissingData: no calibration data or no loss.
        """
        return evidence.products(group, self.samples, self.batch_size).squares / 2
