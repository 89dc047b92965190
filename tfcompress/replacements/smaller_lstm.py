"""The smaller LSTM."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tfcompress import expect
from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.recurrent import gates_of, lstm_of

__all__ = ["SmallerLSTM"]


@dataclass(frozen=True)
class SmallerLSTM(Replacement):
    """ "smaller_lstm": an LSTM with a share of the units, then a dense layer back to all of them (Sak et al. 2014).

    With `s` of `u` units it has `4 * s * (in + s) + s * u` weights and, if the part has biases, `4 * s + u`. The dense
    layer is applied at every step if the part returns all of them, otherwise once.

    Attributes:
        share: share of the LSTM's units, above 0 and at most 1; or their number, as a whole number.
        name: its name, to distinguish several in one search.
    """

    share: float | int = 0.5
    name: str = "smaller_lstm"

    def __post_init__(self) -> None:
        expect.settings(self, expect.share_or_count, "share", of="units")
        expect.settings(self, expect.text, "name")

    def layers(self, part: Part) -> Layers | None:
        """Returns both layers; `None` if the part is not an LSTM, or reads, keeps or returns states."""
        layer = lstm_of(part)
        if layer is None:
            return None
        units = max(1, int(self.share * layer.units)) if isinstance(self.share, float) else self.share
        settings = {"use_bias": layer.use_bias, "kernel_regularizer": layer.kernel_regularizer}
        return [
            keras.layers.LSTM(units, name="lstm", dtype=part.dtype, **gates_of(layer)),
            keras.layers.Dense(layer.units, name="dense", dtype=part.dtype, **settings),
        ]


register_replacement(SmallerLSTM())
