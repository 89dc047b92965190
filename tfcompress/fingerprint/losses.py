"""Losses in one form, whatever form they were given in."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["canonical_loss"]


def canonical_loss(loss: Any) -> Any:
    """Returns a loss, or a list or dict of losses, with names and functions replaced by their classes."""
    return keras.tree.map_structure(_as_class, loss)


def _as_class(loss: Any) -> Any:
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:  # a short form that depends on the outputs
            return loss
    if isinstance(loss, keras.Loss) or loss is None:
        return loss
    name = "".join(part.capitalize() for part in getattr(loss, "__name__", "").split("_"))
    made = getattr(keras.losses, name, None)
    return made() if made is not None and getattr(keras.losses, loss.__name__, None) is loss else loss
