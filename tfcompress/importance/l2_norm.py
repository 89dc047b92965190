"""The l2 norm of a channel's filters."""

import numpy as np

__all__ = ["l2_norm"]


def l2_norm(group, evidence):
    """Root of the sum of the squared weights that write a channel, over all layers that write it.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    scores = np.zeros(group.size, "float32")
    for values in evidence.written(group):
        scores += np.square(values).sum(axis=1)
    return np.sqrt(scores)
