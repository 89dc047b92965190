"""The l1 norm of all weights of a channel."""

import numpy as np

from tfcompress.importance._sums import not_offsets, total

__all__ = ["group_l1_norm"]


def group_l1_norm(group, evidence):
    """Returns the sum of the absolute weights that write, read or carry a channel, in all layers of the group.

    Fang et al. (2023), "DepGraph: Towards any structural pruning" (arXiv:2301.12900), section 3.3, as Torch-Pruning's
    group norm with p=1: everything that is removed with a channel counts, not only its filters. Kernels and the scales
    of normalizations count; offsets (biases, betas) and running statistics are left out, as there; depthwise kernels
    count here, but not there. The sum is not divided by the number of layers or by its mean, which would change no
    order within a group.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    return total(group, not_offsets(group, evidence), np.abs)
