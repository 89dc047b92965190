"""The loss of an objective as a function of labels and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcompress.training.objectives import Objective
from tfcompress.training.penalized import PenalizedModel

__all__ = ["loss_function"]


def loss_function(model: keras.Model, objective: Objective) -> Callable[[Any, Any], Any] | None:
    """The objective's loss, without regularisation, as a function `(y, outputs) -> scalar`.

    Args:
        model: a built model, whose outputs tell what the short forms of Keras' losses stand for.
        objective: loss and metric.

    Returns:
        The function, or `None` where the objective has no loss of its own.
    """
    if objective.loss is None:
        return None
    measured = PenalizedModel(model)
    objective.compile(measured)
    return lambda y, outputs: measured.compute_loss(y=y, y_pred=outputs, training=False)
