"""The estimated change of the loss without a channel, to first order."""

from dataclasses import dataclass
from typing import ClassVar

from tfcompress import expect

__all__ = ["Taylor"]


@dataclass(frozen=True)
class Taylor:
    """First-order Taylor expansion of the loss: g * w over all weights w of a channel's group, g = dE/dw.

    Molchanov et al. (2019), "Importance estimation for neural network pruning" (arXiv:1906.10771), section 3.1. By
    default the group contribution, the square of the sum of g * w over the structure (the paper's I_S); with
    `joint=False` the sum of the single contributions (g * w)^2 (its I-hat_S). Both are means over minibatches, as in
    the paper. The paper's structure is a filter, or a gate after its normalization; here it is the whole group, all
    learned weights that write, read or carry the channel, because they are removed with it. Along a plain chain that is
    twice the gate, which gives the same ranking.

    The joint sum is 0 if the parts cancel out. So is the gradient along a filter before a BatchNormalization, whose
    output does not depend on the filter's length; there the scale and the readers decide.

    Attributes:
        joint: whether to square the sum, or to sum the squares.
        absolute: whether to use absolute values instead of squares.
        samples: maximum number of calibration samples.
        batch_size: samples in a minibatch.
    """

    name: ClassVar[str] = "taylor"

    joint: bool = True
    absolute: bool = False
    samples: int = 256
    batch_size: int = 32

    def __post_init__(self):
        expect.settings(self, expect.flag, "joint", "absolute")
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
        products = evidence.products(group, self.samples, self.batch_size)
        if self.joint:
            return products.joint_absolutes if self.absolute else products.joint_squares
        return products.absolutes if self.absolute else products.squares
