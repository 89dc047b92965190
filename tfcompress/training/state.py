"""State as named numpy arrays: what a checkpoint stores and restores."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

__all__ = [
    "Stateful",
    "check_finite_weights",
    "is_finite",
    "load_model_state",
    "load_optimizer_state",
    "model_state",
    "optimizer_state",
    "seed_layers",
]

Tensors = dict[str, np.ndarray]


class Stateful(Protocol):
    """Anything besides model and optimizer that a resumed run must restore: an agent, its buffer, a counter."""

    def state_dict(self) -> Tensors:
        """Returns the whole state, as arrays of numbers or bools (text as the uint8 of its bytes)."""
        ...

    def load_state_dict(self, tensors: Tensors) -> None:
        """Restores the state that `state_dict` returned."""
        ...


def model_state(model: keras.Model) -> Tensors:
    """Copies all variables of a model: weights, BatchNormalization statistics, and the states of its seed generators.

    Variables are named by their position, because Keras numbers layer names differently in every process.
    """
    return _values(model.variables)


def load_model_state(model: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Restores the state of `model_state` in a model of the same architecture.

    Raises:
        ValueError: number, shape or dtype of the variables differ; nothing is changed then.
    """
    _assign(f"model {model.name!r}", model.variables, tensors)


def optimizer_state(optimizer: keras.optimizers.Optimizer) -> Tensors:
    """Copies all variables of a built optimizer: iterations, learning rate, and its state for each weight."""
    return _values(optimizer.variables)


def load_optimizer_state(optimizer: keras.optimizers.Optimizer, tensors: Mapping[str, np.ndarray]) -> None:
    """Restores the state of `optimizer_state` in an optimizer of the same kind, built for the same weights.

    Raises:
        ValueError: number, shape or dtype of the variables differ; nothing is changed then.
    """
    _assign(f"optimizer {optimizer.name!r}", optimizer.variables, tensors)


def is_finite(variable: Any) -> bool:
    """Whether all numbers of a variable are finite."""
    values = keras.ops.convert_to_numpy(variable)
    return not np.issubdtype(np.asarray(values).dtype, np.inexact) or bool(np.all(np.isfinite(values)))


def check_finite_weights(model: keras.Model) -> None:
    """Refuses a model whose weights hold NaN or infinity; constants that are not trained may hold them (masks).

    Raises:
        ValueError: the message names the first such weight.
    """
    for layer in model._flatten_layers():
        statistics = isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.variables if statistics else layer.trainable_variables:
            if not is_finite(variable):
                raise ValueError(
                    f"Expected a model with finite weights. Received: NaN or infinity in {variable.path}. Its "
                    "training diverged, or its inputs had a wrong scale: take an earlier state of it."
                )


def seed_layers(model: keras.Model, *seed: int) -> None:
    """Makes the random numbers of a model's layers (dropout, noise, augmentation) depend only on `seed`.

    A layer without a seed takes one from Python's global random state, a new one for each copy of the layer, and a
    .keras file does not store how many numbers a layer has drawn.
    """
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.name == "seed_generator_state":
            variable.assign([int(rng.integers(1, 2**31)), 0])


def join(parts: Mapping[str, Tensors]) -> Tensors:
    """Returns one flat dict with keys `part/name`."""
    return {f"{part}/{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def select(tensors: Mapping[str, np.ndarray], part: str) -> Tensors:
    """Returns the tensors that `join` put under `part`, with their own names."""
    start = f"{part}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _values(variables: Sequence[Any]) -> Tensors:
    # np.array copies: on the CPU a variable's numpy value may share the variable's memory.
    return {str(index): np.array(keras.ops.convert_to_numpy(variable)) for index, variable in enumerate(variables)}


def _assign(owner: str, variables: Sequence[Any], tensors: Mapping[str, np.ndarray]) -> None:
    if len(variables) != len(tensors):
        raise ValueError(
            f"Expected the state of the {owner}, which has {len(variables)} variables. "
            f"Received: {len(tensors)} tensors. The state belongs to another architecture."
        )
    for index, variable in enumerate(variables):
        tensor = tensors[str(index)]
        expected = (tuple(variable.shape), keras.backend.standardize_dtype(variable.dtype))
        if (tensor.shape, str(tensor.dtype)) != expected:
            raise ValueError(
                f"Expected variable {index} ({variable.path}) of the {owner} with (shape, dtype) {expected}. "
                f"Received: {(tensor.shape, str(tensor.dtype))}. The state belongs to another architecture."
            )
    for index, variable in enumerate(variables):
        variable.assign(tensors[str(index)])
