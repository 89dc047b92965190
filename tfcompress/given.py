"""Checks a user's arguments and converts them to the form that the package works with: a model, data, a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import FunctionType
from typing import Any

import keras

from tfcompress import expect
from tfcompress.data import NamedData, Splits, opened, splits
from tfcompress.data.batches.checks import Expected
from tfcompress.data.batches.scaling import SCALINGS, to_unit_interval
from tfcompress.data.named.backbones import scaling_of_backbone
from tfcompress.evaluation import expected_labels, measured_scaling
from tfcompress.input_shapes import with_input_shape
from tfcompress.model_files import GivenModel, given_model, read_model
from tfcompress.training import Objective, Score
from tfcompress.training.compiled import compile_settings

__all__ = [
    "GivenModel",
    "check_surroundings",
    "given_callbacks",
    "given_model",
    "given_monitor",
    "given_objective",
    "given_seed",
    "given_splits",
    "given_with_shape",
    "is_of_keras",
    "read_model",
]


def check_surroundings() -> None:
    """Refuses process-wide settings under which training does not work.

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
    """Returns the seed as an int.

    Raises:
        TypeError, ValueError: not a whole number, below 0, or too large for the random streams made of it.
    """
    checked: int = expect.seed("seed", seed)
    return checked


def given_objective(objective: Any) -> Objective | Score | None:
    """Returns the objective of a call, `None` if there is none.

    Raises:
        TypeError: neither a function nor an `Objective`.
    """
    what = "a function (y, outputs) -> one number per sample, or an Objective"
    if isinstance(objective, type):
        expect.refuse("objective", what, objective, f"Write {objective.__name__}(...).", wrong_type=True)
    if not isinstance(objective, Objective):
        expect.function("objective", objective, what, or_none=True, arguments=2)
    checked: Objective | Score | None = objective
    return checked


def given_callbacks(callbacks: Any) -> tuple[keras.callbacks.Callback, ...]:
    """Returns the callbacks of a call.

    Raises:
        TypeError: something is not a callback.
    """
    if callbacks is None or isinstance(callbacks, keras.callbacks.Callback):
        callbacks = () if callbacks is None else (callbacks,)
    what = "keras callbacks such as keras.callbacks.EarlyStopping(patience=3)"
    checked: tuple[keras.callbacks.Callback, ...] = expect.each(
        "callbacks", callbacks, check=expect.instance, kinds=keras.callbacks.Callback, what=what
    )
    return checked


def given_monitor(monitor: Any, objective: Objective | Score | None) -> str | None:
    """Returns the name of the metric that choices are made by.

    Raises:
        TypeError, ValueError: not a name; or an objective is given too, which already says what choices are made by.
    """
    if monitor is not None and objective is not None:
        expect.refuse("monitor", "None beside `objective`, which already says what choices are made by", monitor)
    return None if monitor is None else expect.text("monitor", monitor, "the name of a metric, or 'loss'")


def given_with_shape(model: keras.Model, input_shape: Any) -> keras.Model:
    """Returns the model fixed to one size of its inputs, compiled like the original.

    Raises:
        TypeError, ValueError: not a size that the model accepts.
    """
    fixed = with_input_shape(model, input_shape)
    if getattr(model, "compiled", False):
        fixed.compile(**compile_settings(model))
    return fixed


def given_splits(
    model: keras.Model,
    data: Any,
    validation_data: Any,
    test_data: Any = None,
    seed: int = 0,
    objective: Any = None,
    *,
    validation_split: float | None = None,
    class_weight: Mapping[int, float] | None = None,
) -> Splits:
    """Returns the splits of the data, checked against the model's inputs and its labels: see `tfcompress.data.splits`.

    For `(inputs, None)`, or these with sample weights, the model's own outputs are the labels: for models that need
    no labels (generators).

    Raises:
        ValueError: no labels for a classifier.
    """
    expected = expected_labels(model, objective)
    parts = {"data": data, "validation_data": validation_data, "test_data": test_data}
    data, validation_data, test_data = (
        _with_labels(model, opened(given, argument), expected) for argument, given in parts.items()
    )
    notes: list[str] = []
    if isinstance(data, NamedData) and data.scaling == "keras.applications":
        scaling, words = scaling_of_backbone(model)
        notes.append(words)
        data, validation_data, test_data = (
            replace(part, preprocess=SCALINGS[scaling], scaling="given") if isinstance(part, NamedData) else part
            for part in (data, validation_data, test_data)
        )
    made = splits(
        data,
        validation_data=validation_data,
        test_data=test_data,
        seed=seed,
        validation_share=validation_split,
        expected=expected,
        class_weight=class_weight,
    )
    if isinstance(data, NamedData) and data.scaling == "measured":
        scaling, said = measured_scaling(model, (made.validation, made.train), objective)
        notes += said
        made = made.scaled(to_unit_interval, SCALINGS[scaling])
    return replace(made, notes=tuple(notes))


def _with_labels(model: keras.Model, data: Any, expected: Expected) -> Any:
    if not (isinstance(data, tuple) and len(data) in (2, 3) and data[1] is None):
        return data
    if expected.classes is not None or expected.labels == "indices":
        classes = expected.classes or model.output_shape[-1]
        raise ValueError(
            f"Expected labels for a classifier of {classes} classes. Received: (inputs, None). Give labels: only "
            "models without class outputs, such as generators, work without them."
        )
    return data[0], model.predict(data[0], batch_size=32, verbose=0), *data[2:]


def is_of_keras(thing: Any) -> bool:
    """Whether a loss or metric is part of Keras, and so loads wherever Keras is installed."""
    wrapped = getattr(thing, "fn", getattr(thing, "_fn", None))
    kinds = [part if isinstance(part, FunctionType) else type(part) for part in (thing, wrapped) if part is not None]
    return isinstance(thing, str) or all(kind.__module__.partition(".")[0] == "keras" for kind in kinds)
