"""Imitation: the replacements of all units learn the outputs of the originals, in one pass over the data."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from tfcompress.graph import TensorRef
from tfcompress.methods.darc.units import Unit
from tfcompress.network import Network
from tfcompress.training.own_loss import OwnLoss

__all__ = ["Imitation"]


@dataclasses.dataclass
class _Apart:
    """A wrapper that hides a model from Keras, so that it does not become part of the trained model."""

    taps: keras.Model


class Imitation(OwnLoss):
    """Trains replacements to give the originals' outputs from the originals' inputs (DARC, section 3, step 2).

    One forward pass of the source, with `training=False`, serves all of them; no gradient goes from one to another.
    The loss of each is the mean over elements of the squared difference to the original's output; the loss of a step
    is the sum over all. In training the model returns these losses, float32 `[replacements]`; labels are not read.

    Args:
        source: the network with the originals; its variables are not part of this model.
        learners: `(unit, alternative, layers)`: for each replacement its built layers, in sequence.
    """

    def __init__(self, source: Network, learners: list[tuple[Unit, str, list[Any]]]) -> None:
        super().__init__(name=f"{source.model.name}_imitation")
        self.learners = [layers for _, _, layers in learners]
        self.names = [f"{unit.name}/{alternative}" for unit, alternative, _ in learners]
        places: dict[TensorRef, int] = {}
        graph = source.graph
        self._reads, self._gives = [], []
        for unit, _, _ in learners:
            self._reads.append([places.setdefault(ref, len(places)) for ref in unit.reads])
            self._gives.append(places.setdefault(unit.gives, len(places)))
        self._apart = _Apart(keras.Model(source.model.input, [graph.tensors[ref] for ref in places]))
        self.output_names = getattr(source.model, "output_names", None)
        self._mean = keras.metrics.Mean(name="imitation")
        self.built = True

    @property
    def training_metrics(self) -> list[keras.metrics.Metric]:
        """The mean of the loss per replacement."""
        return [self._mean]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the loss of each replacement, float32 `[replacements]`."""
        tensors = [ops.stop_gradient(tensor) for tensor in self._apart.taps(inputs, training=False)]
        losses = []
        for layers, reads, gives in zip(self.learners, self._reads, self._gives, strict=True):
            read = [tensors[place] for place in reads]
            output: Any = read[0] if len(read) == 1 else read
            for layer in layers:
                output = layer(output)
            difference = ops.cast(output, "float32") - ops.cast(tensors[gives], "float32")
            losses.append(ops.mean(ops.square(difference)))
        return ops.stack(losses)

    def outputs_of(self, y_pred: Any) -> Any:
        """Returns None: a step of imitation gives no outputs of the model."""
        return None

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Returns the sum of the losses of all replacements."""
        if training:
            self._mean.update_state(ops.mean(y_pred))
        return ops.sum(y_pred)
