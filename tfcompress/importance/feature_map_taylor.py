"""How much the loss would change without a feature map, to first order, sample by sample."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tfcompress import expect
from tfcompress.importance.taylor import Taylor

__all__ = ["FeatureMapTaylor"]


@dataclass(frozen=True)
class FeatureMapTaylor:
    """First-order Taylor expansion of the loss in a feature map: |mean over its positions of gradient x activation|.

    Molchanov et al. (2017), "Pruning convolutional neural networks for resource efficient inference"
    (arXiv:1611.06440), section 2.2, "Taylor expansion": worked out for each sample, and averaged over samples.
    `tfcompress.importance.Taylor` is what the same authors made of it in 2019.

    A feature map is what the next layer with weights reads, behind normalisation and activation. Decided, where the
    paper's chains leave it open: where several layers read a channel the score is the mean over them, what a
    flattening makes of one channel stays one, and so do the calls of a shared layer. Channels that no tensor between
    layers shows (heads and key channels inside attention) are scored by their weights, |sum of g * w| of each sample.

    Beside what each filter's removal alone does to the loss, on a network of three convolutions (16, 32 and 32 filters)
    trained on digits, Spearman's rank correlation was 0.64, 0.80 and 0.70 in its layers, where `Taylor()` had 0.12,
    0.36 and 0.73 and the l1 norm 0.16, 0.02 and 0.04. The scores of layers with maps of other sizes do not compare,
    which is why the paper divides them by their l2 norm in each layer, as the method "taylor" does.

    Attributes:
        samples: calibration samples, at most.
        batch_size: samples that run at once; the scores are the same for any.
    """

    name: ClassVar[str] = "feature_map_taylor"

    samples: int = 256
    batch_size: int = 32

    def __post_init__(self):
        expect.settings(self, expect.whole, "samples", "batch_size", least=1)

    def __call__(self, group, evidence):
        """Scores of a group.

        Args:
            group: a `ChannelGroup`.
            evidence: `Evidence` on the model, with data and a loss.

        Returns:
            float32 `[size]`.

        Raises:
            MissingData: no calibration data or no loss.
        """
        gates = evidence.gates(group, self.samples, self.batch_size)
        if np.all(gates.layers):
            return gates.absolute
        return Taylor(absolute=True, samples=self.samples, batch_size=1)(group, evidence)
