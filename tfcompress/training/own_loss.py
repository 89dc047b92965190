"""`OwnLoss`: the protocol of models whose loss needs more than labels and outputs."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["OwnLoss"]


class OwnLoss(keras.Model):
    """A model with its own loss, such as a student with its teacher: derive from it, and `fit` trains by that loss.

    Training and validation use `compute_loss` of such a model, whatever loss the objective has. Its outputs in training
    may be anything that the loss needs.
    """

    @property
    def learner(self) -> keras.Model:
        """The model whose weights are the purpose of the training; callbacks save it."""
        return self

    @property
    def training_metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `compute_loss` updates in training, for history and progress."""
        return []

    def outputs_of(self, y_pred: Any) -> Any:
        """Returns the outputs that the objective's metric measures, `None` if a step has none.

        Args:
            y_pred: the value of `call`.
        """
        return y_pred

    def before_step(self, inputs: Any) -> None:
        """Trains the parts beside the model before each of its steps, within the compiled step.

        Args:
            inputs: inputs of the batch.
        """

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the loss, a scalar.

        Args:
            x, y, sample_weight: the batch.
            y_pred: the value of `call`.
            training: `False` when measuring: the loss on labels only.
        """
        raise NotImplementedError
