"""Layers that bring a student's narrower outputs to the width of its teacher's, and are dropped after training."""

from __future__ import annotations

import keras

__all__ = ["regressor"]

# Added to the seed of a run, for the weights of regressors.
_REGRESSOR = 106


def regressor(
    own: tuple[int | None, ...], wanted: tuple[int | None, ...], seed: int, name: str = "regressor"
) -> keras.Layer | None:
    """A linear layer from the student's channels to the teacher's, the same at all places; `None` for equal ones.

    Args:
        own: static shape of the student's output, the batch first.
        wanted: of the teacher's.
        seed: of the run.
        name: of the layer.
    """
    if own == wanted:
        return None
    initializer = keras.initializers.GlorotUniform(seed=seed + _REGRESSOR)
    # A Dense layer on the last axis is a convolution whose kernel has one place, of any rank.
    layer = keras.layers.Dense(wanted[-1], kernel_initializer=initializer, name=name)
    layer.build(own)
    return layer
