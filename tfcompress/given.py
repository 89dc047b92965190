"""What a user gives, checked and in the form in which it is worked with: a model, data, a seed."""

from __future__ import annotations

import numbers
import os
import pathlib
from types import FunctionType
from typing import Any

import keras

from tfcompress.data import Splits, splits
from tfcompress.data.checks import Expected
from tfcompress.graph import LayerGraph
from tfcompress.training.label_forms import expected_labels

__all__ = ["check_whole", "given_model", "given_seed", "given_splits", "is_of_keras"]


def given_model(model: keras.Model | str | os.PathLike[str]) -> keras.Model:
    """The model, read from its file where a path is given.

    Raises:
        FileNotFoundError: no file of that name.
        TypeError: not a model, or a subclassed one.
        ValueError: an unknown dimension other than the batch.
    """
    if isinstance(model, (str, os.PathLike)):
        path = pathlib.Path(model)
        if not path.exists():
            raise FileNotFoundError(f"Expected `model` to be a model or an existing file. Received: {str(model)!r}")
        model = keras.saving.load_model(path)
    LayerGraph.from_keras(model)  # says what is wrong with a model that cannot be read
    return model


def given_seed(seed: Any) -> int:
    """The seed as an int.

    Raises:
        ValueError: not a whole number, or below 0.
    """
    check_whole("seed", seed, 0)
    return int(seed)


def check_whole(name: str, value: Any, least: int, or_none: bool = False) -> None:
    """Expects a whole number, or `None` (for all) where that is allowed.

    Raises:
        ValueError: anything else; the message names the argument.
    """
    if or_none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        none = " or None (for all)" if or_none else ""
        raise ValueError(f"Expected `{name}` to be a whole number, {least} or more{none}. Received: {name}={value!r}")


def given_splits(
    model: keras.Model, data: Any, validation_data: Any, test_data: Any = None, seed: int = 0, objective: Any = None
) -> Splits:
    """The splits of the data, checked against the model's inputs and its labels: see `tfcompress.data.splits`.

    The labels of `(inputs, None)` are the model's own outputs, for models that need none (generators).

    Raises:
        ValueError: no labels for a classifier.
    """
    expected = expected_labels(model, objective)
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


def is_of_keras(thing: Any) -> bool:
    """Whether a loss or metric is one of Keras' own, which loads wherever Keras is installed."""
    wrapped = getattr(thing, "fn", getattr(thing, "_fn", None))
    kinds = [part if isinstance(part, FunctionType) else type(part) for part in (thing, wrapped) if part is not None]
    return isinstance(thing, str) or all(kind.__module__.partition(".")[0] == "keras" for kind in kinds)
