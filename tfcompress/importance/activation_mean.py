"""The mean activation of a channel on calibration data."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tfcompress import expect

__all__ = ["ActivationMean"]


@dataclass(frozen=True)
class ActivationMean:
    """Mean |activation| of a channel over samples and positions.

    Molchanov et al. (2017), "Pruning convolutional neural networks for resource efficient inference"
    (arXiv:1611.06440), section 2.2, "Activation": the mean of a feature map after its ReLU, which makes it its own
    absolute value. `of="nonzero"` is one minus APoZ, the average percentage of zeros: Hu et al. (2016), "Network
    trimming" (arXiv:1607.03250).

    An activation is the output of the layer that writes the channel, after that layer's own activation function; for a
    residual sum, the mean over its branches. In a network of convolution, BatchNormalization and ReLU layers the
    papers' feature map is the input of the next convolution: `at="read"`.

    Attributes:
        at: `"written"`, or `"read"`: the input of the layers that read the channel.
        of: `"absolute"` values, or the share of `"nonzero"` ones.
        samples: maximum number of calibration samples.
        batch_size: samples in a batch.
    """

    name: ClassVar[str] = "activation_mean"

    at: Literal["written", "read"] = "written"
    of: Literal["absolute", "nonzero"] = "absolute"
    samples: int = 256
    batch_size: int = 32

    def __post_init__(self):
        expect.settings(self, expect.one_of, "at", options=("written", "read"))
        expect.settings(self, expect.one_of, "of", options=("absolute", "nonzero"))
        expect.settings(self, expect.whole, "samples", "batch_size", least=1)

    def __call__(self, group, evidence):
        """Returns the scores of a group.

        Args:
            group: a `ChannelGroup`.
            evidence: `Evidence` on the model, with data.

        Returns:
            float32 `[size]`.

        Raises:
            MissingData: no calibration data.
        """
        return getattr(evidence.activations(group, self.at, self.samples, self.batch_size), self.of)
