"""Sums over the weights of each channel, for norms."""

import numpy as np

__all__ = ["not_offsets", "total"]


def total(group, parts, term):
    """Returns float32 `[size]`: for each channel the sum of `term(values)` over `parts`, arrays `[size, values]`."""
    scores = np.zeros(group.size, "float32")
    for values in parts:
        scores += term(values).sum(axis=1)
    return scores


def not_offsets(group, evidence):
    """Returns the values of the group's weights that measure a channel's size: all but biases and betas."""
    return (weight.values for weight in evidence.weights(group) if not weight.is_offset)
