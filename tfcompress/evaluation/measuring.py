"""Measures loss and metric of models by an objective, in the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.data import clear_error, is_of_tensorflow, without_autotuning
from tfcompress.training.loss import loss_function
from tfcompress.training.objectives import Objective
from tfcompress.training.penalized import BatchNumber, PenalizedModel

__all__ = ["Evaluator", "evaluate", "meter"]


class Evaluator:
    """Measures loss and metric of a model repeatedly with one compiled function.

    Neither the model's weights nor its compile state change.

    Args:
        model: a built model.
        objective: loss and metric.
    """

    def __init__(self, model: keras.Model, objective: Objective):
        self._measured = PenalizedModel(model)
        objective.compile(self._measured)

    def __call__(self, batches: Any, what: str = "data to measure on") -> dict[str, float]:
        """Returns the objective's loss, without regularization, and its metric over all of `batches`, by name.

        Raises:
            ValueError: a batch cannot be read, or does not fit the loss; the message names it and `what`.
        """
        at = BatchNumber()
        settings: dict[str, Any] = {"verbose": 0, "return_dict": True, "callbacks": [at]}
        try:
            results = self._measured.evaluate(without_autotuning(batches), **settings)
        except Exception as error:
            if not is_of_tensorflow(error):
                raise
            raise clear_error(error, f"batch {at.number} of the {what}") from None
        return {name: float(value) for name, value in results.items()}


def evaluate(model: keras.Model, batches: Any, objective: Objective) -> dict[str, float]:
    """Returns loss and metric of `model` over all of `batches`, a PyDataset or tf.data.Dataset. See `Evaluator`."""
    return Evaluator(model, objective)(batches)


def meter(model: keras.Model, objective: Objective, weighted: bool = False) -> keras.metrics.Metric:
    """Returns a new metric whose `update_state(y, outputs)` takes labels and outputs in the model's own structure.

    Its result over some samples equals that of `Evaluator`: the score's mean, the metric, or the loss if that is the
    metric or there is no metric.

    Args:
        model: a built model.
        objective: loss and metric.
        weighted: whether it takes `(labels, weights)` instead of labels.

    Raises:
        ValueError: the objective has neither score, metric nor loss.
    """
    if objective.score is not None:
        return _ScoreMean(objective.scores, str(objective.metric_name))
    if callable(objective.metric):
        return _Weighted(objective.metric()) if weighted else _OfTheOutput(objective.metric())
    loss = loss_function(model, objective)
    if loss is None:
        raise ValueError(
            "Expected an objective with a metric, a score or a loss, to measure a model by. Received: none of them. "
            "Pass `objective=`, a function of labels and outputs that gives one number per sample."
        )
    return _LossMean(loss)


class _ScoreMean(keras.metrics.Mean):  # type: ignore[misc]
    """The mean of a score over samples."""

    def __init__(self, score: Callable[[Any, Any], Any], name: str):
        super().__init__(name=name)
        self._score = score

    def update_state(self, y: Any, outputs: Any, sample_weight: Any = None) -> None:
        super().update_state(keras.ops.cast(self._score(y, outputs), "float32"))


class _LossMean(keras.metrics.Mean):  # type: ignore[misc]
    """The mean of a loss over batches, weighted by their numbers of samples, as Keras' `evaluate` reports it."""

    def __init__(self, loss: Callable[[Any, Any], Any]):
        super().__init__(name="loss")
        self._loss = loss

    def update_state(self, y: Any, outputs: Any, sample_weight: Any = None) -> None:
        samples = keras.ops.shape(keras.tree.flatten(outputs)[0])[0]
        super().update_state(self._loss(y, outputs), sample_weight=samples)


class _OfTheOutput(keras.metrics.Metric):  # type: ignore[misc]
    """A metric of a model's only output, whatever the structure of labels and output."""

    def __init__(self, metric: keras.metrics.Metric):
        super().__init__(name=metric.name)
        self._metric = metric

    def update_state(self, y: Any, outputs: Any, sample_weight: Any = None) -> None:
        self._metric.update_state(keras.tree.flatten(y)[0], keras.tree.flatten(outputs)[0])

    def result(self) -> Any:
        return self._metric.result()

    def reset_state(self) -> None:
        self._metric.reset_state()


class _Weighted(_OfTheOutput):
    """A metric of a model's only output that uses sample weights."""

    def update_state(self, y: Any, outputs: Any, sample_weight: Any = None) -> None:
        labels, weights = (keras.tree.flatten(part)[0] for part in y)
        self._metric.update_state(labels, keras.tree.flatten(outputs)[0], sample_weight=weights)
