"""`Mixup`: trains a model on mixed images (Zhang et al. 2018, "mixup: Beyond empirical risk minimization")."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tfcompress.training.loss import LossFunction, of_batch
from tfcompress.training.own_loss import OwnLoss
from tfcompress.training.penalized import policy_of

__all__ = ["Mixup"]


class Mixup(OwnLoss):
    """Trains `inner` in place on mixtures of each batch with its own reverse; both labels count by their shares.

    The share is drawn once per step from Beta(concentration, concentration). The loss is
    `share * loss(y) + (1 - share) * loss(reversed y)`, which for cross-entropy equals that of mixed one-hot labels,
    without needing them. Sample weights go with their labels. Metrics are measured on images that are not mixed.

    Args:
        inner: a built model with floating-point inputs; an `OwnLoss` keeps its own loss.
        loss: `(y, outputs, sample_weight) -> scalar`, for an `inner` that is not an `OwnLoss`.
        concentration: parameter of the Beta distribution, above 0; 1 for shares that are uniform in [0, 1].
        seed: random seed of the shares.
    """

    def __init__(self, inner: keras.Model, loss: LossFunction, concentration: float = 1.0, seed: int = 0) -> None:
        super().__init__(name=f"{inner.name}_mixed", dtype=policy_of(inner))
        self.inner, self._loss = inner, loss
        self._concentration = float(concentration)
        self._random = keras.random.SeedGenerator(seed)
        self.output_names = getattr(inner, "output_names", None)
        self.built = True

    @property
    def learner(self) -> keras.Model:
        """The inner model, or its learner."""
        return self.inner.learner if isinstance(self.inner, OwnLoss) else self.inner

    @property
    def training_metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of the inner model."""
        return self.inner.training_metrics if isinstance(self.inner, OwnLoss) else []

    def before_step(self, inputs: Any) -> None:
        """Trains the parts that learn beside the inner model."""
        if isinstance(self.inner, OwnLoss):
            self.inner.before_step(inputs)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the inner model's outputs; in training `{"mixed": those for mixed inputs, "share": ...}`."""
        if not training:
            return self.inner(inputs, training=False)
        share = keras.random.beta((), self._concentration, self._concentration, dtype="float32", seed=self._random)

        def mix(tensor: Any) -> Any:
            part = ops.cast(share, tensor.dtype)
            return part * tensor + (1 - part) * ops.flip(tensor, axis=0)

        return {"mixed": self.inner(keras.tree.map_structure(mix, inputs), training=True), "share": share}

    def outputs_of(self, y_pred: Any) -> Any:
        """Returns `None` in training: a mixed image has two labels, so no metric can be measured."""
        return None if isinstance(y_pred, dict) and "share" in y_pred else y_pred

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns in training the loss for both labels of each mixed image, by their shares; else that on labels."""
        if not training:
            return self._of(x, y, y_pred, sample_weight, False)
        share, outputs = y_pred["share"], y_pred["mixed"]
        own = y, sample_weight
        turned = keras.tree.map_structure(lambda part: None if part is None else ops.flip(part, axis=0), own)
        first, second = (self._of(x, labels, outputs, weights, True) for labels, weights in (own, turned))
        loss = share * first + (1 - share) * second
        return loss if isinstance(self.inner, OwnLoss) else sum(self.losses, loss)

    def _of(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Any:
        if isinstance(self.inner, OwnLoss):
            return self.inner.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return of_batch(self._loss, y, y_pred, sample_weight)
