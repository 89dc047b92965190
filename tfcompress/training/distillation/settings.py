"""What holds of a model's layers for one phase of training only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras

__all__ = ["computing_in", "frozen"]


@contextlib.contextmanager
def frozen(layers: Iterable[Any]) -> Iterator[None]:
    """Layers that are not trained inside the `with`; BatchNormalization among them keeps and uses its statistics."""
    were = [(layer, layer.trainable) for layer in layers if isinstance(layer, keras.Layer)]
    for layer, _ in were:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, trainable in were:
            layer.trainable = trainable


@contextlib.contextmanager
def computing_in(policy: str | None, models: Iterable[keras.Model]) -> Iterator[None]:
    """Models whose layers compute in a dtype policy such as "mixed_bfloat16" inside the `with`; weights stay float32.

    Layers that do not compute in float32 keep their own policy, and those that give the outputs stay in float32: the
    probabilities of float16 are zero too soon to be distilled.
    """
    were = []
    if policy is not None:
        models = list(models)
        last = {id(tensor._keras_history.operation) for model in models for tensor in model.outputs}
        for layer in [layer for model in models for layer in _all_layers(model) if id(layer) not in last]:
            if layer.dtype_policy.name == "float32":
                were.append((layer, layer.dtype_policy))
                layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer, before in were:
            layer.dtype_policy = before


def _all_layers(model: keras.Model) -> list[Any]:
    found = []
    for layer in model.layers:
        found += [layer, *_all_layers(layer)] if isinstance(layer, keras.Model) else [layer]
    return found
