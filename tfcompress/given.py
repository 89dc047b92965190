"""What a user gives, checked and in the form in which it is worked with: a model, data, a seed."""

from __future__ import annotations

import dataclasses
from types import FunctionType
from typing import Any

import keras

from tfcompress import expect
from tfcompress.data import Splits, splits
from tfcompress.data.checks import Expected
from tfcompress.model_files import GivenModel, given_model, read_model
from tfcompress.training import Objective, Score
from tfcompress.training.compiled import metric_specs, name_of, read_loss

__all__ = [
    "GivenModel",
    "given_model",
    "given_objective",
    "given_seed",
    "given_splits",
    "is_of_keras",
    "read_model",
]


def given_seed(seed: Any) -> int:
    """The seed as an int.

    Raises:
        TypeError, ValueError: not a whole number, below 0, or too large for the random streams made of it.
    """
    checked: int = expect.seed("seed", seed)
    return checked


def given_objective(objective: Any) -> Objective | Score | None:
    """The objective of a call, if there is one.

    Raises:
        TypeError: neither a function nor an `Objective`.
    """
    what = "a function (y, outputs) -> one number a sample, or an Objective"
    if isinstance(objective, type):
        expect.refuse("objective", what, objective, f"Write {objective.__name__}(...).", wrong_type=True)
    if not isinstance(objective, Objective):
        expect.function("objective", objective, what, or_none=True)
    checked: Objective | Score | None = objective
    return checked


def given_splits(
    model: keras.Model, data: Any, validation_data: Any, test_data: Any = None, seed: int = 0, objective: Any = None
) -> Splits:
    """The splits of the data, checked against the model's inputs and its labels: see `tfcompress.data.splits`.

    The labels of `(inputs, None)` are the model's own outputs, for models that need none (generators).

    Raises:
        ValueError: no labels for a classifier.
    """
    expected = _expected(model, objective)
    data, validation_data, test_data = (
        _with_labels(model, given, expected) for given in (data, validation_data, test_data)
    )
    return splits(data, validation_data=validation_data, test_data=test_data, seed=seed, expected=expected)


def _with_labels(model: keras.Model, data: Any, expected: Expected) -> Any:
    if not (isinstance(data, tuple) and len(data) == 2 and data[1] is None):
        return data
    if expected.classes is not None or expected.labels == "indices":
        classes = expected.classes or model.output_shape[-1]
        raise ValueError(
            f"Expected labels for a classifier of {classes} classes. Received: (inputs, None). Only models "
            "whose outputs are no classes, such as generators, can do without."
        )
    return data[0], model.predict(data[0], batch_size=32, verbose=0)


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


def _expected(model: keras.Model, objective: Any) -> Expected:
    """What the model reads and, by its loss, which labels it is compared with.

    A loss of the user's own says nothing about labels, unless the model is compiled with an accuracy; a model that is
    not compiled has classes where single whole numbers are its labels.
    """
    strings = any(tensor.dtype == "string" for tensor in model.inputs)
    expected = Expected(model.input_shape, outputs=len(model.outputs), strings=strings)
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
        accuracies = [spec for spec in metric_specs(model) if "acc" in name_of(spec).lower()]
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


def is_of_keras(thing: Any) -> bool:
    """Whether a loss or metric is one of Keras' own, which loads wherever Keras is installed."""
    wrapped = getattr(thing, "fn", getattr(thing, "_fn", None))
    kinds = [part if isinstance(part, FunctionType) else type(part) for part in (thing, wrapped) if part is not None]
    return isinstance(thing, str) or all(kind.__module__.partition(".")[0] == "keras" for kind in kinds)
