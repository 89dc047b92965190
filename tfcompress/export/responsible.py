"""Finds the layer that makes the conversion of a network fail, by bisection.

The converter's own message gives operators and traces, but names no layer for an operation of `keras.ops`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras

Failure = TypeVar("Failure")


@dataclasses.dataclass(frozen=True)
class Part:
    """A layer or `keras.ops` operation: its name, `"outer/inner"` in nested models, and its class."""

    path: str
    kind: str


def responsible_part(
    network: keras.Model, failure: Callable[[keras.Model], Failure | None]
) -> tuple[Part | None, Failure | None]:
    """Returns the first call, in topological order, with which `failure` reports a problem, and that problem.

    Args:
        network: a Functional model.
        failure: returns what is wrong with a model, None if nothing is.

    Returns:
        The layer and what is wrong with it; (None, None) if nothing is wrong with the network.
    """
    calls = calls_of(network)
    works, fails, error = 0, len(calls), failure(model_of_calls(calls))
    if error is None:
        return None, None
    while fails - works > 1:  # the first `works` calls convert, the first `fails` do not
        middle = (works + fails) // 2
        caught = failure(model_of_calls(calls[:middle]))
        works, fails, error = (middle, fails, error) if caught is None else (works, middle, caught)
    operation = calls[fails - 1].operation
    if isinstance(operation, keras.Model) and hasattr(operation, "operations"):
        inner, cause = responsible_part(operation, failure)
        if inner is not None:
            return Part(f"{operation.name}/{inner.path}", inner.kind), cause
    return Part(operation.name, type(operation).__name__), error


def calls_of(network: keras.Model) -> list[Any]:
    """Returns the calls (Keras nodes) that lead to the outputs, each after those that it reads; without inputs."""
    ordered: dict[int, Any] = {}
    stack = [(_call_of(tensor), False) for tensor in reversed(network.outputs)]
    while stack:
        call, is_ready = stack.pop()
        if call.is_input or id(call) in ordered:
            continue
        if is_ready:
            ordered[id(call)] = call
        else:
            stack.append((call, True))
            stack.extend((_call_of(tensor), False) for tensor in reversed(call.input_tensors))
    return list(ordered.values())


def _call_of(tensor: Any) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def model_of_calls(calls: Sequence[Any]) -> keras.Model:
    """Returns the model of the given calls, on their own layers.

    Its inputs are the tensors that the calls read but do not make, its outputs those that they make but do not read.
    """
    made = {id(tensor): tensor for call in calls for tensor in call.output_tensors}
    read = {id(tensor): tensor for call in calls for tensor in call.input_tensors}
    return keras.Model(
        [tensor for key, tensor in read.items() if key not in made],
        [tensor for key, tensor in made.items() if key not in read],
    )
