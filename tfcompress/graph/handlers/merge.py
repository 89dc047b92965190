"""Layers that merge several tensors."""

from __future__ import annotations

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, handles
from tfcompress.graph.labels import Labels

__all__ = ["Concatenation", "ElementwiseMerge"]

_layers = keras.layers


@handles(_layers.Add, _layers.Subtract, _layers.Multiply, _layers.Average, _layers.Maximum, _layers.Minimum)
class ElementwiseMerge(Handler):
    """Sum, product, ... of tensors: channels in the same place are tied together."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Ties the inputs' labels; a tensor with one channel is spread over all, and keeps it."""
        rank = len(call.node.output_shapes[0])
        # Shapes are aligned at their ends: an axis is the same one counted from there.
        ends = [labels.axis - len(shape) for labels, shape in zip(call.inputs, call.node.input_shapes, strict=True)]
        widest = max(range(len(ends)), key=lambda i: (len(call.inputs[i]), len(call.node.input_shapes[i])))
        first = call.inputs[widest]
        for labels, end in zip(call.inputs, ends, strict=True):
            if end != ends[widest]:
                reason = "the channels of the tensors that are merged lie on different axes"
                call.fix(labels.ids, reason)
                call.fix(first.ids, reason)
            elif len(labels) == len(first):
                call.book.tie(first.ids, labels.ids)
            else:
                call.fix(labels.ids, "one channel is spread over all channels of another tensor")
        return (Labels(first.ids, rank + ends[widest]),)


@handles(_layers.Concatenate)
class Concatenation(Handler):
    """Tensors side by side."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Along the channels the labels stand side by side; along another axis they are tied."""
        rank = len(call.node.output_shapes[0])
        axis = call.layer.axis % rank
        first = call.inputs[0]
        if all(labels.axis == axis for labels in call.inputs):
            return (Labels(np.concatenate([labels.ids for labels in call.inputs]), axis),)
        if all(labels.axis == first.axis for labels in call.inputs):
            for labels in call.inputs[1:]:
                call.book.tie(first.ids, labels.ids)
            return (first,)
        for labels in call.inputs:
            call.fix(labels.ids, "the channels of the tensors that are joined lie on different axes")
        ids = call.book.new(call.node.output_shapes[0][-1] or 0)
        call.fix(ids, "the channels of the tensors that are joined lie on different axes")
        return (Labels(ids, rank - 1),)
