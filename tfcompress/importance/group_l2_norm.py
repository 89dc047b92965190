"""The l2 norm of all weights of a channel."""

import numpy as np

from tfcompress.importance._sums import not_offsets, total

__all__ = ["group_l2_norm"]


def group_l2_norm(group, evidence):
    """Returns the root of the sum of the squared weights that write, read or carry a channel, in all layers.

    Fang et al. (2023), "DepGraph: Towards any structural pruning" (arXiv:2301.12900), section 3.3, as Torch-Pruning's
    group norm with p=2, which ranks by the square of this. Kernels and the scales of normalizations count; offsets
    (biases, betas) and running statistics are left out, as there; depthwise kernels count here, but not there.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    return np.sqrt(total(group, not_offsets(group, evidence), np.square))
