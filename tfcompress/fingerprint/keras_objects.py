"""Keras objects: their kinds, and their contents besides the config."""

from __future__ import annotations

import functools
import sys
import types
from typing import Any

import keras

from tfcompress.fingerprint.code import is_installed

__all__ = ["KERAS_OBJECTS", "held_besides_config"]

KERAS_OBJECTS = (
    keras.Operation,
    keras.Loss,
    keras.Metric,
    keras.Regularizer,
    keras.Initializer,
    keras.constraints.Constraint,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.DTypePolicy,
)


def held_besides_config(value: Any) -> dict[str, Any]:
    """Returns the attributes of a Keras object that affect what it does, but are not in its config.

    Args:
        value: an instance of one of `KERAS_OBJECTS`, or a layer.

    Returns:
        Attributes by name: the user's own functions and objects, and state that a user's class computes with.
    """
    # Of Keras' own layers and optimizers the configuration says all; of its losses it does not.
    told = (keras.Layer, keras.optimizers.Optimizer)
    own = not isinstance(value, told) or not is_installed(type(value).__module__)
    held = {name: part for name, part in vars(value).items() if name not in _of_keras(_kind(value))}
    # The weights of a layer are looked at apart from it, those that a loss computes with nowhere else.
    weights = () if isinstance(value, (keras.Layer, keras.optimizers.Optimizer)) else _weights_of(value)
    return {
        name: part
        for name, part in held.items()
        if _is_own(part) or (own and not _is_kerass(part)) or _holds(part, weights)
    }


def _is_own(value: Any) -> bool:
    """Whether an attribute of a Keras object is a function, or an object of a user's class."""
    if isinstance(value, (types.FunctionType, functools.partial)):
        return True
    if isinstance(value, (type, types.MethodType, keras.Operation)):
        return False
    return not is_installed(type(value).__module__)


def _is_kerass(value: Any) -> bool:
    """Whether an attribute is one of Keras' own objects, which config and weights cover, or bookkeeping."""
    if isinstance(value, (list, tuple, set)):
        return any(map(_is_kerass, value))
    if isinstance(value, dict):
        return any(map(_is_kerass, value.values()))
    kinds = (keras.Variable, keras.KerasTensor, *KERAS_OBJECTS)
    return isinstance(value, kinds) or type(value).__module__.startswith("keras.") or _is_symbolic(value)


def _weights_of(value: Any) -> tuple[type, ...]:
    """Returns the kinds of attributes with weights that an object computes with; a metric's variables count too."""
    return (keras.Layer,) if isinstance(value, keras.Metric) else (keras.Layer, keras.Variable)


def _holds(value: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, (list, tuple, set)):
        return any(_holds(entry, kinds) for entry in value)
    if isinstance(value, dict):
        return any(_holds(entry, kinds) for entry in value.values())
    return isinstance(value, kinds)


def _is_symbolic(value: Any) -> bool:
    """Whether a layer kept a tensor of a call that was only traced."""
    tensorflow = sys.modules.get("tensorflow")
    return tensorflow is not None and tensorflow.is_tensor(value) and tensorflow.is_symbolic_tensor(value)


def _kind(value: Any) -> type:
    return next(kind for kind in (keras.Layer, *KERAS_OBJECTS) if isinstance(value, kind))


@functools.cache
def _of_keras(kind: type) -> frozenset[str]:
    """Returns the attributes that every object of a Keras kind has."""
    common = {"name", "dtype", "_name", "_dtype", "_dtype_policy", "built", "_tracker", "_inbound_nodes", "_lock"}
    common |= {"_auto_config", "_auto_registered", "supports_jit", "_parent_path", "_outbound_nodes", "iterations"}
    if kind is keras.optimizers.Optimizer:
        made = vars(kind(learning_rate=0.1)).keys()  # among them the strategy of distribution, which has no contents
        return frozenset(common | made) - {"_learning_rate"}  # it may be a schedule of the user's
    try:
        return frozenset(common | vars(kind()).keys() | {"build", "quantize", "call", "_build_shapes_dict"})
    except Exception:
        return frozenset(common)
