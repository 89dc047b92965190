"""A GRU instead of an LSTM."""

from __future__ import annotations

import keras

from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.recurrent import gates_of, lstm_of

__all__ = ["Gru"]


class Gru(Replacement):
    """ "gru": a GRU (Cho et al. 2014) with the units and settings of an LSTM, with three gates instead of four.

    It has `3 * u * (in + u)` weights for `u` units and, if the part has biases, `6 * u` of them.
    """

    name = "gru"

    def layers(self, part: Part) -> Layers | None:
        """Returns the layer; `None` if the part is not an LSTM, or reads, keeps or returns states."""
        layer = lstm_of(part)
        if layer is None:
            return None
        return [keras.layers.GRU(layer.units, name="gru", dtype=part.dtype, **gates_of(layer))]


register_replacement(Gru())
