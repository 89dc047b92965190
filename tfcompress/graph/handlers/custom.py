"""Layers that hold code of the user's."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Unknown, handles

__all__ = ["Lambda"]


@handles(keras.layers.Lambda)
class Lambda(Unknown):
    """A function of the user's: left whole."""

    def create(self, call: Call, config: dict[str, Any]) -> Any:
        """With the function itself: Keras refuses to make a lambda again from its config."""
        layer = call.layer
        own = {"function": layer.function, "mask": layer.mask, "arguments": layer.arguments}
        return keras.layers.Lambda(**{**config, **own, "output_shape": layer._output_shape})
