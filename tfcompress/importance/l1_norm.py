"""The l1 norm of a channel's filters."""

import numpy as np

from tfcompress.importance._sums import total

__all__ = ["l1_norm"]


def l1_norm(group, evidence):
    """Returns the sum of the absolute weights that write a channel, over all layers that write it.

    Li et al. (2017), "Pruning filters for efficient convnets" (arXiv:1608.08710), section 3.1: the norm that RLAL
    ranks by.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    return total(group, evidence.written(group), np.abs)
