"""Checks optimizers that a user gives, and copies them for each phase by their config, so that they stay unchanged."""

from __future__ import annotations

from typing import Any, Literal

import keras

from tfcompress import expect

__all__ = [
    "OptimizerName",
    "checked_optimizer",
    "compiled_optimizer",
    "decays_weights",
    "inner_optimizer",
    "like",
    "own_rate",
    "schedules",
]

OptimizerName = Literal["sgd", "adam", "compiled"]

_NAMES = ("sgd", "adam", "compiled")


def checked_optimizer(name: str, value: Any) -> Any:
    """Checks the setting `optimizer`: a name, or an optimizer that can be rebuilt from its config.

    Args:
        name: name of the setting.
        value: its value.

    Raises:
        TypeError, ValueError: anything else.
    """
    if not isinstance(value, keras.optimizers.Optimizer):
        what = "'sgd', 'adam', 'compiled' for the model's own, or a keras optimizer"
        is_class = isinstance(value, type) and issubclass(value, keras.optimizers.Optimizer)
        if not isinstance(value, str):
            hint = f"Write its parentheses: {name}=keras.optimizers.{value.__name__}()." if is_class else ""
            expect.refuse(name, what, value, hint, wrong_type=True)
        advice = f"Write {name}=keras.optimizers.get({value!r}), or one with its own settings."
        return expect.one_of(name, value, _NAMES, advice if value.lower() in _of_keras() else "", what)
    try:
        like(value, 0.1)
    except Exception as error:  # whatever the class of somebody else's raises
        why = f"It is copied for each phase by its get_config and from_config, which failed: {error}."
        expect.refuse(name, "an optimizer that can be rebuilt from its config", value, why)
    return value


def compiled_optimizer(model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer that a model is compiled with.

    Raises:
        ValueError: the model is not compiled, or has no optimizer.
    """
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise ValueError(
            "Expected a model that is compiled with an optimizer, for optimizer='compiled'. Received: model "
            f"{model.name!r}, which has none. Compile it, or give the optimizer itself."
        )
    return checked_optimizer("optimizer", optimizer)


def like(optimizer: keras.optimizers.Optimizer, learning_rate: float) -> keras.optimizers.Optimizer:
    """Returns a copy of an optimizer, which is not changed.

    Args:
        optimizer: the given one; of a LossScaleOptimizer the inner one is copied, because Keras scales losses itself.
        learning_rate: learning rate of the copy, unless the optimizer has a schedule of its own.
    """
    inner = inner_optimizer(optimizer)
    config = inner.get_config()
    if not schedules(inner):
        config["learning_rate"] = learning_rate
    return type(inner).from_config(config)


def inner_optimizer(optimizer: Any) -> Any:
    """Returns the inner optimizer of a LossScaleOptimizer; any other optimizer unchanged."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def schedules(optimizer: Any) -> bool:
    """Whether an optimizer has a `LearningRateSchedule` of its own, which counts steps over a phase."""
    inner = inner_optimizer(optimizer)
    return isinstance(getattr(inner, "_learning_rate", None), keras.optimizers.schedules.LearningRateSchedule)


def own_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Returns the learning rate of an optimizer; with a schedule, that of its first step."""
    inner = inner_optimizer(optimizer)
    rate = inner._learning_rate(0) if schedules(inner) else inner.learning_rate
    return float(keras.ops.convert_to_numpy(rate))


def decays_weights(optimizer: Any) -> bool:
    """Whether an optimizer has a weight decay of its own, as AdamW has."""
    inner = inner_optimizer(optimizer)
    return bool(getattr(inner, "weight_decay", None))


def _of_keras() -> set[str]:
    return {name.lower() for name, kind in vars(keras.optimizers).items() if isinstance(kind, type)}
