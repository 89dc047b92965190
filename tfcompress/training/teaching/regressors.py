"""Layers that bring a student's narrower outputs to the width of its teacher's, and are removed after training."""

from __future__ import annotations

import keras

from tfcompress.streams import Stream

__all__ = ["regressor"]


def regressor(
    own: tuple[int | None, ...], wanted: tuple[int | None, ...], seed: int, name: str = "regressor"
) -> keras.Layer | None:
    """Returns a linear layer from the student's channels to the teacher's, shared by all places; `None` if equal.

    Args:
        own: static shape of the student's output, the batch first.
        wanted: the teacher's.
        seed: random seed.
        name: name of the layer.
    """
    if own == wanted:
        return None
    initializer = keras.initializers.GlorotUniform(seed=seed + Stream.REGRESSOR)
    # A Dense layer on the last axis is a convolution whose kernel has one place, of any rank.
    layer = keras.layers.Dense(wanted[-1], kernel_initializer=initializer, name=name)
    layer.build(own)
    return layer
