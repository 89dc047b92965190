"""Operations that sort positions, or select the largest: the parts of k-max pooling."""

from __future__ import annotations

from typing import Any

from tfcompress.graph.handlers.base import Call, Handler, handles
from tfcompress.graph.labels import Labels

__all__ = ["Sorting", "TakingAlongAxis"]


@handles("TopK", "Sort", "Argsort")
class Sorting(Handler):
    """Sorts numbers along one axis, or returns their places; other axes are independent."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Passes labels through, for values and places; fixes them if it sorts the channels."""
        labels, rank = call.inputs[0], len(call.node.input_shapes[0])
        axis: Any = getattr(call.layer, "axis", -1)  # TopK has the last one
        if axis is None or labels.axis == axis % rank:
            return call.whole(f"{call.node.type_name} sorts the channels")
        return (labels,) * len(call.node.output_shapes)


@handles("TakeAlongAxis")
class TakingAlongAxis(Handler):
    """`ops.take_along_axis(x, places, axis)`: from each row of `x`, the numbers at the places in the same row."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Ties the channels of both; fixes them if channels are selected, or if they do not lie in the same places."""
        first, rank = call.inputs[0], len(call.node.input_shapes[0])
        if call.layer.axis is None or first.axis == call.layer.axis % rank:
            return call.whole("TakeAlongAxis takes channels by their number")
        if len(call.inputs) == 1:
            return call.whole("TakeAlongAxis takes places that are the same for every input")
        second = call.inputs[1]
        if (first.axis, len(first)) != (second.axis, len(second)):
            return call.whole("TakeAlongAxis reads tensors with other channels, or with channels on other axes")
        call.book.tie(first.ids, second.ids)
        return (first,)
