"""The level of random guessing by an objective's metric, and its random variation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.evaluation.measuring import meter
from tfcompress.training.compiled import read_losses
from tfcompress.training.objectives import Objective

__all__ = ["guessing", "outputs_of", "traced"]

_SCORED_SAMPLES, _MEASURED_SAMPLES, _PARTS, _BATCH = 256, 128, 16, 32
_OF_CLASSES = (keras.metrics.SparseCategoricalAccuracy, keras.metrics.CategoricalAccuracy, keras.metrics.BinaryAccuracy)


def guessing(
    model: keras.Model,
    objective: Objective,
    labels: Any,
    take: Callable[[int], tuple[Any, Any]],
    weights: Any = None,
) -> tuple[float | None, float | None]:
    """Returns `(chance, luck)`: the metric of guessing, `None` if not known, and three standard errors of it.

    For an accuracy of classes, guessing means always naming the most frequent class; its `luck` is `None`, because it
    follows from this share. For any other metric or score, guessing means comparing the outputs with the labels of
    other samples, and `luck` is three standard errors of the difference to their own labels.

    Args:
        model: a built model.
        objective: loss and metric.
        labels: some labels.
        take: returns `(x, y)` of the requested number of samples.
        weights: weights of the labels, if the metric uses them; `None` for none.

    Raises:
        ValueError: a score does not give one finite number per sample.
    """
    if objective.score is not None:
        return _score_of_strangers(model, objective, *take(_SCORED_SAMPLES))
    if objective.metric is None:
        return None, None
    metric = objective.metric() if callable(objective.metric) else None
    several = type(metric) is keras.metrics.BinaryAccuracy and (model.outputs[0].shape[-1] or 0) > 1
    if type(metric) in _OF_CLASSES and not several:
        return _most_frequent(model, labels, weights), None
    return _metric_of_strangers(model, objective, *take(_MEASURED_SAMPLES))


def _most_frequent(model: keras.Model, labels: Any, weights: Any = None) -> float:
    """Returns the share of the most frequent class among all labels; labels of an ignored class count as wrong."""
    labels = np.asarray(keras.tree.flatten(labels)[0])
    if labels.ndim == len(model.outputs[0].shape) and labels.shape[-1] > 1:  # one-hot, and not a map of classes
        labels = labels.argmax(-1)
    classes, counts = np.unique(labels, return_counts=True)
    if weights is not None and np.ndim(keras.tree.flatten(weights)[0]) == labels.ndim:
        counts = np.array([np.sum(keras.tree.flatten(weights)[0], where=labels == each) for each in classes])
    ignored = [loss.ignored for loss in read_losses(model)]
    named = counts[~np.isin(classes, [each for each in ignored if each is not None])]
    return float(named.max(initial=0) / counts.sum()) if counts.sum() else 0.0


def _score_of_strangers(model: keras.Model, objective: Objective, x: Any, y: Any) -> tuple[float, float]:
    samples = len(keras.tree.flatten(y)[0])
    outputs = outputs_of(model, x, samples)
    scores = []
    for shift in (0, max(1, samples // 2)):
        given = _scored(objective, _shifted(y, shift), outputs)
        if given.shape != (samples,) or given.dtype.kind not in "biuf" or not np.isfinite(given).all():
            raise ValueError(
                f"Expected `objective(y, outputs)` to give one finite number for each of {samples} samples. Received: "
                f"an array of shape {given.shape}, dtype {given.dtype}. Take the mean over all axes but the first."
            )
        scores.append(given.astype("float64"))
    own, others = scores
    return float(others.mean()), float(3 * (own - others).std() / math.sqrt(samples))


def _scored(objective: Objective, y: Any, outputs: Any) -> Any:
    try:
        return keras.ops.convert_to_numpy(objective.scores(y, outputs))
    except Exception as error:  # of any kind: the code is somebody else's
        shapes = keras.tree.map_structure(lambda a: [None, *a.shape[1:]], (y, outputs))
        raise ValueError(
            f"Expected `objective(y, outputs)` to work for labels of shape {shapes[0]} and outputs of shape "
            f"{shapes[1]}. Received: {type(error).__name__}: {' '.join(str(error).split())[:300]} Write it with "
            "keras.ops for labels and outputs in the model's own structure."
        ) from error


def _metric_of_strangers(model: keras.Model, objective: Objective, x: Any, y: Any) -> tuple[float | None, float | None]:
    """Measures in parts of the samples, because a metric need not be a mean over them."""
    samples = len(keras.tree.flatten(y)[0])
    if samples < 2 * _PARTS:
        return None, None
    outputs, metric = outputs_of(model, x, samples), meter(model, objective)

    def measured(labels: Any, part: slice) -> float:
        metric.reset_state()
        metric.update_state(*keras.tree.map_structure(lambda a: a[part], (labels, outputs)))
        value = float(keras.ops.convert_to_numpy(metric.result()))
        metric.reset_state()
        return value

    parts = [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(samples), _PARTS)]
    weights = np.array([part.stop - part.start for part in parts]) / samples
    shifted = _shifted(y, samples // 2)
    own, others = (np.array([measured(labels, part) for part in parts]) for labels in (y, shifted))
    chance = measured(shifted, slice(None))
    if not np.isfinite([*own, *others, chance]).all():
        return None, None
    if not callable(objective.metric) and not math.isclose(chance, others @ weights, rel_tol=1e-3, abs_tol=1e-6):
        return None, None  # a loss that compares the samples of a batch: its values depend on how many these are
    return chance, float(3 * (own - others).std(ddof=1) / math.sqrt(_PARTS))


def _shifted(y: Any, shift: int) -> Any:
    return keras.tree.map_structure(lambda a: np.roll(np.asarray(a), shift, axis=0), y)


def traced(model: keras.Model) -> Callable[[Any], Any]:
    """Returns a model as a function of inputs that is traced once."""
    call: Callable[[Any], Any] = tf.function(
        lambda part: model(part, training=False), reduce_retracing=True, autograph=False
    )
    return call


def outputs_of(model: keras.Model, x: Any, samples: int, call: Callable[[Any], Any] | None = None) -> Any:
    """Returns a model's outputs for a number of samples, in batches of 32, by `call` if it was traced before."""
    call = call or traced(model)
    parts = [
        call(keras.tree.map_structure(lambda a: tf.convert_to_tensor(a[at : at + _BATCH]), x))  # noqa: B023
        for at in range(0, samples, _BATCH)
    ]
    return keras.tree.map_structure(lambda *arrays: keras.ops.concatenate(arrays), *parts)
