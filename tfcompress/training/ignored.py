"""Sentences on parts of a user's model that compression does not use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from tfcompress.training.compiled import compile_settings, loss_weights, metric_specs, name_of, names_accuracy
from tfcompress.training.objectives import Objective
from tfcompress.training.optimizers import inner_optimizer

__all__ = ["words_for_ignored"]

_STEPS = ("fit", "train_step", "compute_loss", "test_step", "evaluate", "compute_metrics")
_OF_OTHERS = ("keras", "tensorflow", "builtins")
_DEFAULTS = {"run_eagerly": False, "steps_per_execution": 1, "auto_scale_loss": True}


def words_for_ignored(
    model: keras.Model, objective: Objective, trains_with: str | None, optimizer: Any = None
) -> list[str]:
    """Yields sentences on the parts of a model's class and of its `compile` that are not used.

    Losses, regularizers and the first metric are used, and `objective.description` names their origin.

    Args:
        model: the user's model.
        objective: the objective of training and measuring.
        trains_with: the method's optimizer in words; `None` for a method that does not say.
        optimizer: the optimizer that the method copies, which may be the model's.
    """
    sentences = [*_of_class(model)]
    if getattr(model, "compiled", False):
        sentences += _of_compile(model, objective, trains_with, optimizer)
    return sentences


def _of_class(model: keras.Model) -> Iterator[str]:
    own = [kind for kind in type(model).__mro__ if kind.__module__.partition(".")[0] not in _OF_OTHERS]
    brought = {name for kind in own for name in vars(kind)} | set(vars(model))
    steps = [name for name in _STEPS if name in brought]
    if steps:
        are = "is" if len(steps) == 1 else "are"
        yield (
            f"The model's own {' and '.join(steps)} {are} not used: Keras' own steps train and measure, with the loss "
            "above. Check that they do the same, or train the result further with your own steps."
        )
    if own:
        yield f"The result is a plain keras.Model: the class {type(model).__name__} is not carried over."


def _of_compile(model: keras.Model, objective: Objective, trains_with: str | None, used: Any) -> Iterator[str]:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer is not used:
        instead = "the method brings its own" if trains_with is None else f"{trains_with} trains instead"
        yield f"The optimizer that the model is compiled with, {_words_of(optimizer)}, is not used: {instead}."
    measured = objective.further_names
    further = _further([name_of(spec) for spec in metric_specs(model) if name_of(spec) not in measured], objective)
    if further:
        used = objective.metric_name or "none"
        yield f"Further metrics of the model are not measured: {', '.join(further)}. Measured: {used}."
    if (weights := loss_weights(model)) is not None and objective.loss_weights is None:
        yield f"loss_weights={weights!r} of the model's compile() are not used."
    # Keras notes what "auto" comes to on this machine, which is what training comes to as well.
    config = compile_settings(model)
    defaults = {**_DEFAULTS, "jit_compile": model._resolve_auto_jit_compile()}
    changed = [f"{name}={config[name]!r}" for name, usual in defaults.items() if config.get(name, usual) != usual]
    if changed:
        yield f"Settings of the model's compile() that are not used: {', '.join(changed)}."


def _words_of(optimizer: Any) -> str:
    inner = inner_optimizer(optimizer)
    rate = float(keras.ops.convert_to_numpy(inner.learning_rate))
    return f"{type(inner).__name__} with learning rate {rate:g}"


def _further(names: list[str], objective: Objective) -> list[str]:
    """Returns the names without that of the metric that is used."""
    metric = objective.metric_name
    if objective.score is not None or metric is None:
        return names
    for place, name in enumerate(names):
        if name == metric or (names_accuracy(metric) and names_accuracy(name)):
            return [*names[:place], *names[place + 1 :]]
    return names
