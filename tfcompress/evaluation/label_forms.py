"""The form of labels that a model's loss reads."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from tfcompress.data.batches.checks import Expected
from tfcompress.training.compiled import metric_specs, name_of, names_accuracy, read_loss
from tfcompress.training.objectives import Objective

__all__ = ["expected_labels"]

_ONE_HOT = ("categorical_crossentropy", "categorical_focal_crossentropy")
_BINARY = ("binary_crossentropy", "binary_focal_crossentropy")
_NUMBERS = (
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "huber",
    "log_cosh",
    "poisson",
    "cosine_similarity",
    "kl_divergence",
    "hinge",
    "squared_hinge",
    "categorical_hinge",
)


def expected_labels(model: keras.Model, objective: Any = None) -> Expected:
    """Returns the inputs of the model and the labels that its loss reads.

    A user's own loss does not determine the labels, unless the model is compiled with an accuracy; a model that is not
    compiled has classes if its labels are single whole numbers.

    Args:
        model: a built Functional or Sequential model.
        objective: an `Objective`, whose loss is used instead of the model's; anything else does not determine labels.
    """
    strings = any(tensor.dtype == "string" for tensor in model.inputs)
    names = _input_names(model)
    expected = Expected(model.input_shape, outputs=len(model.outputs), strings=strings, input_names=names)
    if len(model.outputs) != 1:
        return expected
    shape = tuple(model.outputs[0].shape)
    expected = dataclasses.replace(expected, output_shape=shape)
    classes = None if len(shape) != 2 or shape[-1] is None else int(shape[-1])
    given = objective.loss if isinstance(objective, Objective) else getattr(model, "loss", None)
    losses = [loss for loss in keras.tree.flatten(given) if loss is not None]
    if not losses:
        unknown = classes == 1 or isinstance(objective, Objective)
        return dataclasses.replace(expected, classes=None if unknown else classes)
    loss = read_loss(losses[0]) if len(losses) == 1 else None
    if loss is None or not loss.is_keras:
        accuracies = [spec for spec in metric_specs(model) if names_accuracy(name_of(spec))]
        return dataclasses.replace(expected, labels="classes" if accuracies and shape[-1] != 1 else None)
    expected = dataclasses.replace(expected, ignored=loss.ignored, loss=loss.name)
    if loss.name == "sparse_categorical_crossentropy":
        return dataclasses.replace(expected, classes=classes, labels="indices")
    if loss.name in _ONE_HOT:
        return dataclasses.replace(expected, classes=classes, labels="one-hot")
    if loss.name in _BINARY:
        return dataclasses.replace(expected, classes=classes, labels="numbers")
    if loss.name == "crossentropy":
        return dataclasses.replace(expected, classes=classes)
    return dataclasses.replace(expected, labels="numbers" if loss.name in _NUMBERS else None)


def _input_names(model: keras.Model) -> tuple[str, ...] | None:
    """Returns the names by which Keras finds arrays in a dict, in the order of `model.inputs`; `()` without names."""
    functional = getattr(model, "_functional", None) or model  # that of a Sequential model
    structure = getattr(functional, "_inputs_struct", None)
    if isinstance(structure, dict):
        return tuple(sorted(structure)) if len(structure) == len(model.inputs) else None
    names = tuple(tensor.name for tensor in model.inputs)
    layers = tuple(tensor._keras_history.operation.name for tensor in model.inputs)
    return names if names == layers else ()  # Keras asks for both; they differ where the input was given no name
