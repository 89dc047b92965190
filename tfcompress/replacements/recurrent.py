"""Which LSTMs can be replaced, and which of their settings are kept."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.replacements.base import Part

__all__ = ["gates_of", "lstm_of"]

_KEPT = (
    "activation",
    "recurrent_activation",
    "use_bias",
    "dropout",
    "recurrent_dropout",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "return_sequences",
    "go_backwards",
    "unroll",
    "zero_output_for_mask",
)


def lstm_of(part: Part) -> Any:
    """Returns the part's LSTM; `None` if it is not one, or reads, keeps or returns states."""
    layer: Any = part.layer
    if type(layer) is not keras.layers.LSTM or layer.return_state or layer.stateful or len(part.input_shapes) > 1:
        return None
    return layer


def gates_of(layer: Any) -> dict[str, Any]:
    """Returns arguments for another recurrent layer with gates like this one's."""
    return {name: getattr(layer, name) for name in _KEPT}
