"""What a user gives, checked and in the form in which it is worked with: a model, data, a seed."""

from __future__ import annotations

import numbers
import os
import pathlib
from types import FunctionType
from typing import Any

import keras

from tfcompress.data import Splits, splits
from tfcompress.graph import LayerGraph

__all__ = ["check_whole", "given_model", "given_seed", "given_splits", "is_of_keras"]


def given_model(model: keras.Model | str | os.PathLike[str]) -> keras.Model:
    """The model, read from its file where a path is given.

    Raises:
        FileNotFoundError: no file of that name.
        TypeError: not a model, or a subclassed one.
        ValueError: an unknown dimension other than the batch.
    """
    check_surroundings()
    if isinstance(model, (str, os.PathLike)):
        path = pathlib.Path(model)
        if not path.exists():
            raise FileNotFoundError(f"Expected `model` to be a model or an existing file. Received: {str(model)!r}")
        model = keras.saving.load_model(path)
    LayerGraph.from_keras(model)  # says what is wrong with a model that cannot be read
    return model


def check_surroundings() -> None:
    """Refuses settings of the process that training does not work under.

    Raises:
        ValueError: inside the scope of a distribution strategy, or with another float type than float32.
    """
    import tensorflow as tf

    if tf.distribute.has_strategy():
        raise ValueError(
            "Expected a call outside of the scope of a distribution strategy. Received: a call inside the scope of "
            f"{type(tf.distribute.get_strategy()).__name__}. Build the model in the scope if you like, and leave the "
            "scope before this call, which runs on one device."
        )
    if keras.config.floatx() != "float32":
        raise ValueError(
            f"Expected keras.config.floatx() to be 'float32'. Received: {keras.config.floatx()!r}. Call "
            "keras.config.set_floatx('float32') before the model is built or loaded; distillation computes in half "
            "precision with its setting mixed_precision."
        )


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


def given_splits(model: keras.Model, data: Any, validation_data: Any, test_data: Any = None, seed: int = 0) -> Splits:
    """The splits of the data, checked against the model's inputs and classes: see `tfcompress.data.splits`.

    The labels of `(inputs, None)` are the model's own outputs, for models that need none (generators).

    Raises:
        ValueError: no labels for a classifier.
    """
    data, validation_data, test_data = (_with_labels(model, given) for given in (data, validation_data, test_data))
    return splits(
        data,
        validation_data=validation_data,
        test_data=test_data,
        input_shape=model.input_shape,
        classes=_classes(model),
        seed=seed,
    )


def _with_labels(model: keras.Model, data: Any) -> Any:
    if not (isinstance(data, tuple) and len(data) == 2 and data[1] is None):
        return data
    if _classes(model) is not None:
        raise ValueError(
            f"Expected labels for a classifier of {_classes(model)} classes. Received: (inputs, None). Only models "
            "whose outputs are no classes, such as generators, can do without."
        )
    return data[0], model.predict(data[0], batch_size=32, verbose=0)


def _classes(model: keras.Model) -> int | None:
    """Number of classes, `None` where the compiled loss or the outputs say that labels are no classes."""
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        return None
    loss, outputs = keras.tree.flatten(getattr(model, "loss", None))[0], int(model.output_shape[-1])
    if isinstance(loss, str) and loss.lower() not in ("crossentropy", "ce"):
        loss = keras.losses.get(loss)
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    if "crossentropy" in name.lower().replace("_", "") or name.lower() == "ce":
        return outputs
    regression = loss is not None and is_of_keras(loss)
    return None if regression or outputs == 1 else outputs


def is_of_keras(thing: Any) -> bool:
    """Whether a loss or metric is one of Keras' own, which loads wherever Keras is installed."""
    wrapped = getattr(thing, "fn", getattr(thing, "_fn", None))
    kinds = [part if isinstance(part, FunctionType) else type(part) for part in (thing, wrapped) if part is not None]
    return isinstance(thing, str) or all(kind.__module__.partition(".")[0] == "keras" for kind in kinds)
