"""Protocols of models that `fit` trains for another model: with another form, or with a loss of their own."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["InPlaceOf", "OwnLoss"]


class InPlaceOf(keras.Model):
    """A model that is trained in the place of another one, which gets its weights."""

    @property
    def learner(self) -> keras.Model:
        """The model whose weights are the purpose of the training; callbacks save it."""
        return self


class OwnLoss(InPlaceOf):
    """A model with its own loss, such as a student with its teacher: derive from it, and `fit` trains by that loss.

    Training and validation use `compute_loss` of such a model, whatever loss the objective has. Its outputs in training
    may be anything that the loss needs.
    """

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
