"""Settings of a model's layers that apply only during one training phase."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import keras

from tfcompress.training.thawing import frozen, inner_layers

__all__ = ["computing_in", "frozen"]


@contextlib.contextmanager
def computing_in(policy: str | None, models: Iterable[keras.Model]) -> Iterator[None]:
    """Makes models compute in a dtype policy such as "mixed_bfloat16" inside the `with`; weights stay float32.

    This covers all layers, also those inside wrappers, cells and nested models. Layers that do not compute in float32
    keep their own policy, and output layers stay in float32: small probabilities would become zero in float16 too soon
    to be distilled.
    """
    were = []
    if policy is not None:
        models = list(models)
        last = {
            id(inner)
            for model in models
            for tensor in model.outputs
            for inner in inner_layers(tensor._keras_history.operation)
        }
        every = [inner for model in models for outer in model.layers for inner in inner_layers(outer)]
        for layer in every:
            if id(layer) not in last and layer.dtype_policy.name == "float32":
                were.append((layer, layer.dtype_policy))
                layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer, before in were:
            layer.dtype_policy = before
