"""The l2 norm of a channel's filters."""

import numpy as np

from tfcompress.importance._sums import total

__all__ = ["l2_norm"]


def l2_norm(group, evidence):
    """Returns the root of the sum of the squared weights that write a channel, over all layers that write it.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    return np.sqrt(total(group, evidence.written(group), np.square))
