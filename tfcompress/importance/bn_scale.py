"""The scale of normalization layers for a channel."""

import numpy as np

__all__ = ["bn_scale"]


def bn_scale(group, evidence):
    """Returns the sum of |gamma| over the BatchNormalization layers that a channel passes.

    Liu et al. (2017), "Learning efficient convolutional networks through network slimming" (arXiv:1708.06519),
    section 3: |gamma| of the single BatchNormalization after a convolution. The paper first trains with an l1 penalty
    on gamma, which makes the ranking clearer; this is only the ranking. If other normalizations are cut through, their
    scales count too.

    Args:
        group: a `ChannelGroup`.
        evidence: `Evidence` on the model.

    Returns:
        float32 `[size]`.

    Raises:
        ValueError: the group passes no normalization with a scale.
    """
    scales = [w.values for w in evidence.weights(group) if w.role == "carries" and w.name == "gamma"]
    if not scales:
        raise ValueError(
            f"Expected the channels of {group.name!r} to pass a BatchNormalization with a scale, for the criterion "
            f"'bn_scale'. Received: {group}. Choose another criterion, or a function that falls back on one."
        )
    return sum(np.abs(values).sum(axis=1) for values in scales)
