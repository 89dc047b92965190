"""Checks that loss and metric can be computed for a model's outputs and its labels, before any step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.evaluation.measuring import meter
from tfcompress.training.compiled import direction, output_structure
from tfcompress.training.loss import loss_function
from tfcompress.training.objectives import Objective

__all__ = ["check_objective"]

_LONGEST = 300  # characters of TensorFlow's own words


def check_objective(model: keras.Model, objective: Objective, labels: Any) -> None:
    """Checks an objective against a model and some labels, without running the model.

    Args:
        model: a built model.
        objective: loss and metric, inferred or given.
        labels: array or structure of arrays `[samples, ...]`.

    Raises:
        ValueError: a loss or metric cannot be computed for these labels and outputs, the metric has another
            direction than the objective says, or there is a metric for several outputs.
    """
    if callable(objective.metric) and objective.score is None:
        _check_metric(model, objective, objective.metric())
    if objective.loss is not None:
        loss = loss_function(model, objective)
        assert loss is not None
        _try(loss, f"the loss {objective.name}", model, labels, "Convert the labels, or compile with a loss for them.")
    if callable(objective.metric) and objective.score is None:
        measured = meter(model, objective)

        def result(y: Any, outputs: Any) -> Any:
            measured.update_state(y, outputs)
            return measured.result()

        what = f"the metric {objective.metric_name}"
        advice = "Compile with a metric for these labels, or pass `objective=`, a function (y, outputs) -> [batch]."
        value = _try(result, what, model, labels, advice)
        measured.reset_state()
        if keras.tree.is_nested(value) or len(value.shape):
            raise ValueError(f"Expected {what} to give one number. Received: {value}. {advice}")


def _check_metric(model: keras.Model, objective: Objective, metric: keras.metrics.Metric) -> None:
    known = direction(metric)
    if known is not None and known != objective.higher_is_better:
        raise ValueError(
            f"Expected `higher_is_better` of the objective to be {known} for the metric {metric.name!r}. "
            f"Received: higher_is_better={objective.higher_is_better}. Pass "
            f"Objective(..., higher_is_better={known})."
        )
    if len(model.outputs) > 1:
        raise ValueError(
            "Expected an objective with `score=` for a model of several outputs, a function (y, outputs) -> [batch]. "
            f"Received: the metric {metric.name!r} for {len(model.outputs)} outputs."
        )


def _try(call: Callable[[Any, Any], Any], what: str, model: keras.Model, labels: Any, advice: str) -> Any:
    """Returns the symbolic result of `call(y, outputs)`, traced as in training and measuring."""
    outputs = keras.tree.map_structure(_spec, output_structure(model))
    given = keras.tree.map_structure(lambda a: _spec(np.asarray(a)), labels)
    try:
        return tf.function(call, autograph=False).get_concrete_function(given, outputs).structured_outputs
    except Exception as error:  # of any kind: the code is somebody else's
        shapes = keras.tree.map_structure(lambda spec: f"{[*spec.shape]} {spec.dtype.name}", given)
        words = " ".join(str(error).split())
        words = words if len(words) <= _LONGEST else f"...{words[-_LONGEST:]}"
        expected = [list(output.shape) for output in model.outputs]
        raise ValueError(
            f"Expected labels that {what} can compare with outputs of shape {expected}. Received: labels of shape "
            f"{shapes}, and {type(error).__name__}: {words} {advice}"
        ) from error


def _spec(tensor: Any) -> tf.TensorSpec:
    return tf.TensorSpec((None, *tensor.shape[1:]), keras.backend.standardize_dtype(tensor.dtype))
