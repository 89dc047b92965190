"""Saved policies: folders with a JSON file that describes the policy and a TensorFlow checkpoint of its weights."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["read", "write"]

_DESCRIPTION, _WEIGHTS = "policy.json", "weights"


def write(path: str, description: dict[str, Any], variables: Sequence[Any]) -> None:
    """Writes a policy; until it is complete the folder has no description, and is refused when read.

    Args:
        path: a folder; it is created if it is missing, and a policy in it is replaced.
        description: plain values.
        variables: variables of the policy, in a constant order.
    """
    os.makedirs(path, exist_ok=True)
    file = os.path.join(path, _DESCRIPTION)
    if os.path.exists(file):
        os.remove(file)
    tf.train.Checkpoint(**_named(variables)).write(os.path.join(path, _WEIGHTS))
    with open(file + ".part", "w", encoding="utf-8") as stream:
        json.dump(description, stream, indent=2)
    os.replace(file + ".part", file)


def read(path: str, description: dict[str, Any], variables: Sequence[Any]) -> None:
    """Assigns a saved policy's weights to variables.

    Args:
        path: a folder written by `write`.
        description: the saved description must be equal to this.
        variables: as in `write`.

    Raises:
        ValueError: there is no readable policy, or its description differs. Nothing is changed then.
    """
    kind = description["kind"]
    try:
        with open(os.path.join(path, _DESCRIPTION), encoding="utf-8") as stream:
            saved = json.load(stream)
        if not isinstance(saved, dict):
            raise ValueError(f"{_DESCRIPTION} describes nothing")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Expected a folder with a saved {kind} policy. Received: {path!r} ({error}). Give a folder that a "
            f"{kind} learner saved."
        ) from error
    for name, value in description.items():
        if saved.get(name) != value:
            raise ValueError(
                f"Expected a saved {kind} policy with {name}={value!r}. Received: {name}={saved.get(name)!r} in "
                f"{path!r}. Give a policy that was saved with the same {name}, or make the learner with its settings."
            )
    try:
        reader = tf.train.load_checkpoint(os.path.join(path, _WEIGHTS))
        weights = [reader.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE") for name in _named(variables)]
        if any(np.shape(weight) != variable.shape for weight, variable in zip(weights, variables, strict=True)):
            raise ValueError("weights have shapes that differ from the description")
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(
            f"Expected readable weights of a saved policy. Received: {path!r} ({error}). Save the policy again."
        ) from error
    for variable, weight in zip(variables, weights, strict=True):
        variable.assign(weight)


def _named(variables: Sequence[Any]) -> dict[str, Any]:
    return {f"weight_{index:02d}": variable for index, variable in enumerate(variables)}
