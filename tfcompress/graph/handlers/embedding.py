"""Tables of vectors."""

from __future__ import annotations

from typing import Any

import keras

from tfcompress.graph.handlers.base import Call, Handler, WeightAxes, Width, adapted, handles
from tfcompress.graph.labels import Labels

__all__ = ["Embedding"]


@handles(keras.layers.Embedding)
class Embedding(Handler):
    """A vector for each whole number: its channels are columns of the table; all rows stay."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels on a new last axis."""
        call.fix(call.inputs[0].ids, "Embedding looks these numbers up")
        return (Labels(call.new_output(call.layer.output_dim), len(call.node.output_shapes[0]) - 1),)

    def weights(self, call: Call, outputs: tuple[Labels, ...]) -> tuple[WeightAxes, ...]:
        """Table `[vocabulary, channels]`."""
        return adapted(call.layer, WeightAxes(call.layer.embeddings, writes={1: outputs[0].ids}))

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Fewer channels."""
        return {"output_dim": width(outputs[0].ids)}
