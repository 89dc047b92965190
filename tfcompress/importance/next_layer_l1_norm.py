"""The l1 norm of the weights that read a channel."""

import numpy as np

from tfcompress.importance._sums import total

__all__ = ["next_layer_l1_norm"]


def next_layer_l1_norm(group, evidence):
    """Returns the sum of the absolute weights that read a channel, over all layers that read it.

    He et al. (2014), "Reshaping deep neural network for fast decoding by node-pruning" (ICASSP), "onorm", the norm of
    a node's output weights: the effect of a channel on the layers after it. Before a normalization it says more than
    the channel's own filter, whose size the normalization cancels.

    Normalizations, activations and depthwise convolutions in between are ignored. A `Dense` after a `Flatten` reads a
    channel once at each position. The keys of an attention are read by its queries' kernel. A channel that a slice
    drops is read by nothing: 0.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    return total(group, evidence.read(group), np.abs)
