"""The separable convolution over time instead of an LSTM."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tfcompress import expect
from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.recurrent import lstm_of

__all__ = ["Separable1D"]


@dataclass(frozen=True)
class Separable1D(Replacement):
    """ "separable_1d": a depthwise-separable convolution over the steps of an LSTM (Kaiser et al. 2017).

    It is causal like the LSTM, with zeros before the first step. It ends with the LSTM's activation and, if the LSTM
    returns only its last step, with the mean over all steps that are not masked. For `u` units it has
    `size * in + in * u` weights, and `u` biases if the part has them.

    Attributes:
        size: size of its kernel in steps, 1 or more.
        name: its name, to distinguish several in one search.
    """

    size: int = 3
    name: str = "separable_1d"

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "size", least=1)
        expect.settings(self, expect.text, "name")

    def layers(self, part: Part) -> Layers | None:
        """Returns the layers; `None` if the part is not an LSTM, or reads backwards or with states."""
        layer = lstm_of(part)
        if layer is None or layer.go_backwards:
            return None
        made: list[keras.layers.Layer] = []
        if self.size > 1:
            made.append(keras.layers.ZeroPadding1D((self.size - 1, 0), name="zeros", dtype=part.dtype))
        made.append(
            keras.layers.SeparableConv1D(
                layer.units,
                self.size,
                depthwise_regularizer=part.kernel_regularizer,
                pointwise_regularizer=part.kernel_regularizer,
                name="separable",
                dtype=part.dtype,
                **part.last_settings,
            )
        )
        if not layer.return_sequences:
            made.append(keras.layers.GlobalAveragePooling1D(name="mean", dtype=part.dtype))
        return made


register_replacement(Separable1D())
