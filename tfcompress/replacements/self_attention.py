"""Self-attention instead of an LSTM."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from tfcompress import expect
from tfcompress.replacements.base import Layers, Part, Replacement, register_replacement
from tfcompress.replacements.masks import inputs_of, never_empty
from tfcompress.replacements.recurrent import lstm_of

__all__ = ["SelfAttention"]


@dataclass(frozen=True)
class SelfAttention(Replacement):
    """ "self_attention": attention of the steps to one another (Vaswani et al. 2017; Section 1 of DARC names it).

    If the LSTM returns all its steps, a step attends to itself and to earlier ones; if it returns only the last one,
    all attend to all, and their mean is returned; masked steps are left out. For `u` units, `h` heads and
    `d = max(1, u // h)` it has `h * d * (3 * in + u)` weights, and `3 * h * d + u` biases if the part has them. It does
    not know the order of the steps, except from their contents.

    Attributes:
        heads: number of heads, 1 or more.
        name: its name, to distinguish several in one search.
    """

    heads: int = 4
    name: str = "self_attention"

    def __post_init__(self) -> None:
        expect.settings(self, expect.whole, "heads", least=1)
        expect.settings(self, expect.text, "name")

    def layers(self, part: Part) -> Layers | None:
        """Returns a model; `None` if the part is not an LSTM, or reads backwards or with states."""
        layer = lstm_of(part)
        if layer is None or layer.go_backwards:
            return None
        inputs = inputs_of(part)
        steps, *mask = inputs
        attention = keras.layers.MultiHeadAttention(
            self.heads,
            max(1, layer.units // self.heads),
            use_bias=part.use_bias,
            output_shape=layer.units,
            kernel_regularizer=part.kernel_regularizer,
            bias_regularizer=part.bias_regularizer,
            activity_regularizer=part.activity_regularizer,
            name="attention",
            dtype=part.dtype,
        )
        masks = {"value_mask": mask[0]} if mask else {}
        outputs = attention(steps, steps, use_causal_mask=layer.return_sequences, **masks)
        if not layer.return_sequences:
            mean = keras.layers.GlobalAveragePooling1D(name="mean", dtype=part.dtype)
            outputs = mean(outputs, mask=never_empty(mask[0]) if mask else None)
        return keras.Model(inputs if mask else steps, outputs, name="self_attention")


register_replacement(SelfAttention())
