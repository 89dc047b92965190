"""Weights as they are before any training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["draw_anew"]


def draw_anew(layers: Iterable[Any], rng: np.random.Generator) -> None:
    """Gives layers the weights that their own initializers draw, and statistics as they are in the beginning.

    Args:
        layers: built layers; operations without weights are passed over.
        rng: where the seeds of initializers come from that have none of their own.

    Raises:
        TypeError: a layer that cannot be made again from its config.
    """
    for layer in layers:
        if not getattr(layer, "weights", None):
            continue
        try:
            new = type(layer).from_config(_seeded(layer.get_config(), rng))
            new.build_from_config(layer.get_build_config())
        except (NotImplementedError, TypeError, ValueError) as error:
            raise TypeError(
                f"Expected {type(layer).__name__} to be made again by from_config(get_config()), for fresh weights. "
                f"Received: layer {layer.name!r}, {type(error).__name__}: {error}. Give the student yourself: student=."
            ) from error
        for old, drawn in zip(layer.weights, new.weights, strict=True):
            old.assign(drawn)


def _seeded(config: Any, rng: np.random.Generator) -> Any:
    """A config whose initializers have seeds."""
    if isinstance(config, dict):
        found = {key: _seeded(value, rng) for key, value in config.items()}
        inner = found.get("config")
        if "class_name" in found and isinstance(inner, dict) and "seed" in inner and inner["seed"] is None:
            found["config"] = {**inner, "seed": int(rng.integers(2**31))}
        return found
    return [_seeded(value, rng) for value in config] if isinstance(config, (list, tuple)) else config
