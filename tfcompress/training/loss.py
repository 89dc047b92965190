"""The loss of an objective as a function of labels and outputs."""

from __future__ import annotations

from typing import Any, Protocol

import keras

from tfcompress.training.objectives import Objective
from tfcompress.training.penalized import PenalizedModel

__all__ = ["LossFunction", "loss_function", "of_batch"]


class LossFunction(Protocol):
    """A loss of labels and outputs, a scalar, optionally weighted by sample as in Keras' `fit`."""

    def __call__(self, y: Any, outputs: Any, sample_weight: Any = None, /) -> Any:
        """Returns the loss.

        Args:
            y, outputs: labels and outputs, in the model's own structure.
            sample_weight: `[batch]`, or any form that Keras' losses take.
        """
        ...


def loss_function(model: keras.Model, objective: Objective) -> LossFunction | None:
    """Returns the objective's loss without regularization, as a function `(y, outputs, sample_weight=None) -> scalar`.

    Args:
        model: a built model, whose outputs determine the meaning of the short names of Keras' losses.
        objective: loss and metric.

    Returns:
        The function, or `None` if the objective has no loss of its own.
    """
    if objective.loss is None:
        return None
    measured = PenalizedModel(model)
    objective.compile(measured)

    def loss(y: Any, outputs: Any, sample_weight: Any = None, /) -> Any:
        return measured.compute_loss(y=y, y_pred=outputs, sample_weight=sample_weight, training=False)

    return loss


def of_batch(loss: LossFunction, y: Any, outputs: Any, weights: Any) -> Any:
    """Returns the loss of a batch, whose samples may have weights (`None` for none)."""
    return loss(y, outputs) if weights is None else loss(y, outputs, weights)
