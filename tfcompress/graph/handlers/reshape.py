"""Operations that move every element: reshapes of all kinds, and transposes.

The rule for reshapes: input and output are divided into blocks of axes with equal products. Labels are repeated over
the block with the channel axis, and read in the same order in the output's block. If that block is one axis, these are
the output's labels. If it is several, channels can be removed along only one of them, so labels that share a
position along it are tied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, Width, handler_of, handles
from tfcompress.graph.labels import Ids, Labels

__all__ = ["AnyReshape", "AnyTranspose", "Flatten", "Reshape", "block_of", "reshaped"]

_layers = keras.layers
_Shape = Sequence[int | None]


def block_of(source: _Shape, target: _Shape, axis: int) -> tuple[int, int, int, int] | None:
    """Returns the smallest block of axes around `axis` that a reshape maps to a block of as many elements.

    Args:
        source, target: shapes before and after, with the batch, `None` for an unknown size.
        axis: an axis of `source`.

    Returns:
        `(start, stop, target start, target stop)`; `None` if unknown sizes leave no such block.
    """
    i, o = len(source), len(target)
    while i > axis and o > 0:
        start, out = i - 1, o - 1
        size, wanted = source[start], target[out]
        while size is not None and wanted is not None and size != wanted:
            if size < wanted:
                start -= 1
                size = _times(size, source, start)
            else:
                out -= 1
                wanted = _times(wanted, target, out)
        if size is None or wanted is None:
            break
        if start <= axis:
            return start, i, out, o
        i, o = start, out
    front = next((k for k, (a, b) in enumerate(zip(source[:i], target[:o], strict=False)) if a != b), min(i, o))
    # Equal leading axes are the same only if the unknown sizes behind them leave no other reading.
    if axis < front and list(source[front:i]).count(None) == list(target[front:o]).count(None):
        return axis, axis + 1, axis, axis + 1
    return None


def _times(size: int, shape: _Shape, axis: int) -> int | None:
    further = shape[axis] if axis >= 0 else None
    return None if further is None else size * further


def _axes_that_readers_want(call: Call, rank: int) -> frozenset[int] | None:
    """Returns the axes on which the first reader that restricts them expects channels; checks only a few nodes."""
    assert call.graph is not None
    pending = [call.node.outputs[0]]
    for _ in range(8):
        if not pending:
            break
        for name in call.graph.readers.get(pending.pop(0), ()):
            node = call.graph.nodes[name]
            handler = handler_of(node.operation)
            axes = handler.channel_axes(node.operation, rank)
            if axes is not None:
                return axes
            if handler.keeps_axes and len(node.output_shapes[0]) == rank:
                pending.append(node.outputs[0])
    return None


def _separate(rows: Ids) -> int:
    """Returns how many of the `[positions, labels]` stay separate if positions that share a label are merged."""
    unique, index = np.unique(rows, return_inverse=True)
    if len(unique) == rows.size:
        return len(rows)
    index = index.reshape(rows.shape)
    lowest = np.arange(len(rows))
    while True:
        of_label = np.full(len(unique), len(rows))
        np.minimum.at(of_label, index, lowest[:, None])
        lower = of_label[index].min(axis=1)
        lower = lower[lower]
        if np.array_equal(lower, lowest):
            return len(np.unique(lowest))
        lowest = lower


def _one_axis(call: Call, ids: Ids, start: int, rank: int) -> Labels:
    """Chooses the axis of a block `ids` along which channels can be removed, and ties labels that share a position.

    An axis on which the output's reader expects channels comes first, then the one that leaves the most separate.
    """
    rows = [np.moveaxis(call.book.representatives(ids), k, 0).reshape(size, -1) for k, size in enumerate(ids.shape)]
    earlier = call.earlier[1][0].axis - start if call.earlier else None
    if earlier is not None and 0 <= earlier < len(rows):
        best = earlier  # one target shape has one axis that shrinks
    else:
        wanted = _axes_that_readers_want(call, rank) if call.graph else None
        apart = [_separate(row) for row in rows]
        best = max(range(len(rows)), key=lambda k: (apart[k] > 1 and k + start in (wanted or ()), apart[k], k))
    first = np.ascontiguousarray(rows[best][:, 0])
    pairs = np.stack([np.broadcast_to(first[:, None], rows[best].shape).ravel(), rows[best].ravel()])
    pairs = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)
    call.book.tie(pairs[0], pairs[1])
    return Labels(first, start + best)


def reshaped(call: Call, labels: Labels, source: _Shape, target: _Shape) -> Labels:
    """Returns the labels of a tensor after a reshape."""
    block = block_of(source, target, labels.axis)
    if block is None or len(labels) != source[labels.axis]:
        reason = f"{call.node.type_name} rearranges channels among axes of unknown size"
        call.fix(labels.ids, reason)
        return call.fixed(tuple(target), len(target) - 1, reason)
    start, stop, out, out_stop = block
    if stop - start == 1 and out_stop - out == 1:
        return Labels(labels.ids, out)
    sizes = [size or 0 for size in source[start:stop]]
    along = [1] * len(sizes)
    along[labels.axis - start] = -1
    ids = np.broadcast_to(labels.ids.reshape(along), sizes).reshape([size or 0 for size in target[out:out_stop]])
    return Labels(ids, out) if ids.ndim == 1 else _one_axis(call, ids, out, len(target))


class AnyReshape(Handler):
    """A reshape that depends only on the shapes of input and output."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels move with the elements."""
        source, target = call.node.input_shapes[0], call.node.output_shapes[0]
        if len(source) == 1 and len(target) == 2:
            ids = call.book.new(1)
            call.fix(ids, "a number that is no channel of any layer")
            return (Labels(ids, 1),)
        return (reshaped(call, call.inputs[0], source, target),)


@handles("ExpandDims", "Squeeze")
class AxesOfOne(AnyReshape):
    """Adds or removes axes of size 1."""


@handles(_layers.Flatten)
class Flatten(AnyReshape):
    """Merges all axes. With `"channels_first"` Keras first moves the second axis to the end."""

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """Returns `None`: any axis is fine."""
        return None

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Repeats the labels of the channels for every position."""
        source = call.node.input_shapes[0]
        if call.layer.data_format != "channels_first" or len(source) < 3:
            return super().flow(call)
        labels, order = call.inputs[0], [0, *range(2, len(source)), 1]
        moved = Labels(labels.ids, order.index(labels.axis))
        return (reshaped(call, moved, [source[axis] for axis in order], call.node.output_shapes[0]),)


@handles(_layers.Reshape, "Reshape")
class Reshape(AnyReshape):
    """Reshapes to a shape in the config, which shrinks with the channels."""

    def _target(self, call: Call) -> tuple[str, list[int], int]:
        """Returns the name of the config entry, the shape in it, and the number of axes that it leaves out."""
        if isinstance(call.layer, _layers.Reshape):
            return "target_shape", list(call.layer.target_shape), 1
        shape = call.layer.newshape
        return "newshape", [shape] if isinstance(shape, int) else list(shape), 0

    def runs_on_slices(self, call: Call) -> bool:
        """False: its arguments contain the number of channels."""
        return False

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels move with the elements; calls of one layer share a target shape, so they shrink together."""
        (labels,) = super().flow(call)
        _, target, left_out = self._target(call)
        if call.earlier is not None and labels.axis >= left_out and target[labels.axis - left_out] != -1:
            first = call.earlier[1][0]
            if first.axis == labels.axis:
                call.tie(first.ids, labels.ids, "calls of one Reshape shrink differently")
            else:
                call.fix(first.ids, "calls of one Reshape shrink along different axes")
                call.fix(labels.ids, "calls of one Reshape shrink along different axes")
        return (labels,)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns a shape with a smaller channel axis."""
        name, target, left_out = self._target(call)
        at = outputs[0].axis - left_out
        if at >= 0 and target[at] != -1 and len(outputs[0]):
            target[at] = width(outputs[0].ids)
        return {name: tuple(target)}


class AnyTranspose(Handler):
    """Axes in another order: the channel axis moves, its labels stay."""

    def order(self, call: Call, rank: int) -> list[int]:
        """Returns the input axis of each output axis."""
        raise NotImplementedError

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Moves the axis."""
        labels = call.inputs[0]
        order = [axis % len(call.node.input_shapes[0]) for axis in self.order(call, len(call.node.input_shapes[0]))]
        return (Labels(labels.ids, order.index(labels.axis)),)


@handles(_layers.Permute)
class Permute(AnyTranspose):
    """`Permute(dims)`: the batch stays first."""

    def order(self, call: Call, rank: int) -> list[int]:
        """Converts dimensions that are counted from 1."""
        return [0, *call.layer.dims]


@handles("Transpose")
class Transpose(AnyTranspose):
    """`ops.transpose(x, axes)`."""

    def order(self, call: Call, rank: int) -> list[int]:
        """Returns the given order; without axes, all are reversed."""
        axes = call.layer.axes
        return list(range(rank))[::-1] if axes is None else list(axes)


@handles("Swapaxes")
class SwapAxes(AnyTranspose):
    """`ops.swapaxes(x, axis1, axis2)`."""

    def order(self, call: Call, rank: int) -> list[int]:
        """Swaps two axes."""
        order, first, second = list(range(rank)), call.layer.axis1, call.layer.axis2
        order[first], order[second] = order[second], order[first]
        return order


@handles("Moveaxis")
class MoveAxis(AnyTranspose):
    """`ops.moveaxis(x, source, destination)`."""

    def order(self, call: Call, rank: int) -> list[int]:
        """Moves the named axes; the others keep their order."""
        source = [axis % rank for axis in call.layer.source]
        order = [axis for axis in range(rank) if axis not in source]
        for place, axis in sorted(zip((d % rank for d in call.layer.destination), source, strict=True)):
            order.insert(place, axis)
        return order


@handles(_layers.RepeatVector)
class RepeatVector(Handler):
    """`[batch, channels]` to `[batch, n, channels]`."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels stay on the last axis."""
        return (Labels(call.input_along(-1), 2),)
