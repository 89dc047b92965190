"""The distance of a filter from all others of its group."""

import numpy as np

__all__ = ["geometric_median"]


def geometric_median(group, evidence):
    """Returns the sum of the Euclidean distances of a channel's filter to those of all other channels of the group.

    He et al. (2019), "Filter pruning via geometric median for deep neural networks acceleration" (arXiv:1811.00250,
    FPGM), section 3.3: the filters with the smallest sum are nearest to the geometric median, and the others can
    replace them. A channel's filter is the vector of all weights that write it, in all layers.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.
    """
    filters = list(evidence.written(group)) or [np.zeros((group.size, 1))]
    vectors = np.concatenate(filters, axis=1).astype("float64")  # the differences of squares want the digits
    vectors -= vectors.mean(axis=0)
    squares = np.square(vectors).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * vectors @ vectors.T
    np.fill_diagonal(distances, 0.0)
    return np.sqrt(np.maximum(distances, 0.0)).sum(axis=1).astype("float32")
