"""Copies of a user's model: the working copy, and the final copy of a student with the original's nested models."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfcompress.graph import LayerGraph
from tfcompress.network import Network
from tfcompress.plan import Plan
from tfcompress.rewrite.apply import apply
from tfcompress.rewrite.nesting import nesting_of
from tfcompress.rewrite.running import Runner, compare
from tfcompress.rewrite.verify import check_copy

__all__ = [
    "any_batch",
    "check_working_copy",
    "fixed_batch",
    "flat_copy",
    "nested_copy",
    "unchecked_copy",
    "working_copy",
]

_SAMPLES, _TOLERANCE = 4, 1e-3


def fixed_batch(graph: LayerGraph) -> int | None:
    """Returns the only number of samples that a model takes at once; `None` if it takes any."""
    sizes = [graph.shape(ref)[0] for ref in graph.input_refs]
    return next((size for size in sizes if size is not None), None)


def any_batch(model: keras.Model | Network) -> keras.Model:
    """Returns the model itself if it takes any number of samples, else a copy that does.

    Raises:
        TypeError, ValueError: as for `working_copy`, but the copy is not run.
    """
    network = Network.of(model)
    return network.model if fixed_batch(network.graph) is None else _freed(network)


def flat_copy(model: keras.Model | Network) -> keras.Model:
    """Returns a copy without nested models that takes any number of samples; its weights are its own."""
    network = Network.of(model)
    return apply(network.model, Plan(), network.groups) if fixed_batch(network.graph) is None else _freed(network)


def nested_copy(original: LayerGraph, student: Network) -> keras.Model:
    """Returns a copy of a student with the original's nested models, whose inputs accept the original's sizes.

    Layers in nested models have the names that they have there. A student of an original without nested models, with
    the same inputs, is returned unchanged. A nested model that the original calls several times stays flat.

    Args:
        original: the graph of the model that was given.
        student: the student, without nested models.
    """
    nesting = nesting_of(original, student.graph)
    return (
        apply(student.model, Plan(), student.groups, nesting=nesting)
        if nesting.inside or nesting.inputs
        else student.model
    )


def working_copy(original: keras.Model | Network, inputs: Any) -> Network:
    """Returns a copy of a model that computes the same as the model, for any number of samples.

    A fixed batch size is dropped: a Sequential model that was built by `fit` has one by accident, and training in other
    batches, or a file for a phone, needs another one.

    Args:
        original: the user's model, which is not changed.
        inputs: some real inputs.

    Raises:
        TypeError: a layer cannot be copied in this way; it is named in the message.
        ValueError: a layer keeps a state from batch to batch, or cannot run with another number of samples.
    """
    network = Network.of(original)
    copy = unchecked_copy(network)
    check_working_copy(network, copy, inputs)
    return copy


def unchecked_copy(network: Network) -> Network:
    """Returns the copy without running anything to check it.

    Raises:
        TypeError, ValueError: as for `working_copy`.
    """
    _refuse_stateful(network.model)
    made = apply(network.model, Plan(), network.groups) if fixed_batch(network.graph) is None else _freed(network)
    return Network(made, network.through_norms)


def check_working_copy(network: Network, copy: Network, inputs: Any) -> None:
    """Compares a copy with its original on some real inputs.

    Raises:
        TypeError, ValueError: as for `working_copy`.
    """
    batch = fixed_batch(network.graph)
    inputs = _samples(inputs, _SAMPLES if batch is None else batch)
    check_copy(network, copy, inputs)
    if batch is not None:
        _check_other_batches(copy, inputs, batch)


def _samples(inputs: Any, count: int) -> Any:
    """Returns the first samples, repeated if there are too few."""
    return keras.tree.map_structure(
        lambda leaf: leaf if leaf is None else np.asarray(leaf)[np.arange(count) % len(leaf)], inputs
    )


def _refuse_stateful(model: keras.Model) -> None:
    for layer in model._flatten_layers():
        if getattr(layer, "stateful", False):
            raise ValueError(
                "Expected layers that keep no state from one batch to the next: batches are shuffled, and every sample "
                f"is processed separately. Received: layer {layer.name!r} with stateful=True. Build the model with "
                "stateful=False, give it the weights, new.set_weights(model.get_weights()), and go back afterwards."
            )


def _freed(network: Network) -> keras.Model:
    try:
        return apply(network.model, Plan(), network.groups, free_batch=True)
    except Exception as error:
        batch = fixed_batch(network.graph) or 0
        raise ValueError(_needs_all(network.model.name, batch, f"a layer cannot be built ({_line(error)})")) from error


def _check_other_batches(copy: Network, inputs: Any, batch: int) -> None:
    """Checks that each sample is computed separately.

    Raises:
        ValueError: the first samples give other outputs when they come alone.
    """
    few = max(1, batch // 2)
    runner = Runner(copy)
    part = keras.tree.map_structure(lambda leaf: leaf if leaf is None else leaf[:few], inputs)
    try:
        alone = runner(part)
    except Exception as error:
        raise ValueError(_needs_all(copy.model.name, batch, f"a layer fails ({_line(error)})")) from error
    together = [array[:few] for array in runner(inputs)]
    if not compare(together, alone).largest <= _TOLERANCE:
        raise ValueError(_needs_all(copy.model.name, batch, "its outputs change"))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _needs_all(name: str, batch: int, reason: str) -> str:
    return (
        f"Expected a model that takes any number of samples. Received: {name!r}, made for {batch}: with another "
        f"number, {reason}. Build it with keras.Input(shape) and with -1 for the batch in every reshape, and give it "
        "the weights: new.set_weights(model.get_weights())."
    )
