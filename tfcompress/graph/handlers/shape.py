"""Layers and operations that rearrange positions: Flatten, Reshape, slices, padding of channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, handles, tiled
from tfcompress.graph.labels import Ids, Labels

__all__ = ["ChannelPadding", "Flatten", "Reshape", "Slice"]

_layers = keras.layers


def _positions(call: Call, axis: int) -> int | None:
    shape = [size for i, size in enumerate(call.node.input_shapes[0]) if i not in (0, axis)]
    return None if None in shape else int(np.prod([size or 1 for size in shape], dtype=np.int64))


def _one_fixed_channel(call: Call) -> Labels:
    """What becomes of samples that are single numbers, without an axis."""
    ids = call.book.new(1)
    call.fix(ids, "a number that is no channel of any layer")
    return Labels(ids, 1)


@handles(_layers.Flatten)
class Flatten(Handler):
    """`[batch, positions, channels]` to `[batch, positions * channels]`."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Every position repeats the labels of the channels."""
        labels, shape = call.inputs[0], call.node.input_shapes[0][1:]
        if not shape:
            return (_one_fixed_channel(call),)
        if _positions(call, labels.axis) is None:
            call.fix(labels.ids, "Flatten of an unknown number of positions")
            return (Labels(labels.ids, 1),)
        others = [size or 1 for axis, size in enumerate(shape, start=1) if axis != labels.axis]
        ids = np.moveaxis(np.broadcast_to(labels.ids, (*others, len(labels))), -1, labels.axis - 1)
        if call.layer.data_format == "channels_first":
            ids = np.moveaxis(ids, 0, -1)  # as Keras does before it flattens
        return (Labels(ids.ravel(), 1),)


@handles(_layers.Reshape)
class Reshape(Handler):
    """Reshapes that keep the channels last, or flatten all axes."""

    def runs_on_slices(self, call: Call) -> bool:
        """No: its arguments speak of channels."""
        return False

    def _same_width(self, call: Call, labels: Labels) -> tuple[Labels, ...]:
        # A layer that is called several times has one target shape: what its calls reshape goes together.
        if call.written is not None and call.layer.target_shape[-1] != -1:
            call.book.tie(call.written, labels.ids)
        return (labels,)

    def _keeps_last(self, call: Call) -> bool:
        source, target = call.node.input_shapes[0], call.node.output_shapes[0]
        return call.inputs[0].axis == len(source) - 1 and source[-1] == target[-1]

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels stay on the last axis, or are tiled; any other reshape fixes them."""
        labels, shape = call.inputs[0], call.node.output_shapes[0]
        if len(call.node.input_shapes[0]) == 1 and len(shape) == 2:
            return (_one_fixed_channel(call),)
        if self._keeps_last(call):
            return self._same_width(call, Labels(labels.ids, len(shape) - 1))
        positions = _positions(call, labels.axis)
        if len(shape) == 2 and positions is not None and labels.axis == len(call.node.input_shapes[0]) - 1:
            return self._same_width(call, Labels(tiled(labels.ids, positions), 1))
        reason = "Reshape moves the channels"
        call.fix(labels.ids, reason)
        ids = call.book.new(shape[-1] or 0)
        call.fix(ids, reason)
        return self._same_width(call, Labels(ids, len(shape) - 1))

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Callable[[Ids], int]) -> dict[str, Any]:
        """A smaller last axis."""
        target = list(call.layer.target_shape)
        if target[-1] != -1:
            target[-1] = width(outputs[0].ids)
        return {"target_shape": tuple(target)}


@handles("GetItem")
class Slice(Handler):
    """`x[:, ::2, ::2, :]` and the like: slices of positions; of channels, one unbroken range."""

    def runs_on_slices(self, call: Call) -> bool:
        """No: its arguments speak of channels."""
        return False

    def _keys(self, call: Call) -> list[Any] | None:
        key = call.node.args[1] if len(call.node.args) > 1 else call.node.kwargs.get("key")
        keys = list(key) if isinstance(key, (tuple, list)) else [key]  # a list once a model is read from its file
        rank = len(call.node.input_shapes[0])
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (rank - len(keys) + 1)
        keys += [slice(None)] * (rank - len(keys))
        return keys if all(isinstance(k, slice) for k in keys) else None

    def _range(self, call: Call, keys: list[Any]) -> range:
        labels = call.inputs[0]
        return range(*keys[labels.axis].indices(len(labels)))

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """The labels of the positions taken."""
        labels, keys = call.inputs[0], self._keys(call)
        if keys is not None:
            taken = self._range(call, keys)
            if taken.step == 1 and len(taken):
                whole = len(taken) == len(labels)
                return (labels if whole else Labels(labels.ids[taken.start : taken.stop], labels.axis),)
        reason = "a slice that drops an axis or skips channels"
        call.fix(labels.ids, reason)
        shape = call.node.output_shapes[0]
        ids = call.book.new((shape[-1] if len(shape) > 1 else 0) or 0)
        call.fix(ids, reason)
        return (Labels(ids, len(shape) - 1),)

    def arguments(
        self, call: Call, outputs: tuple[Labels, ...], width: Callable[[Ids], int]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The same range among the channels that stay."""
        labels, keys = call.inputs[0], self._keys(call)
        if keys is None or len(outputs[0]) == len(labels):
            return call.node.args, call.node.kwargs
        taken = self._range(call, keys)
        if taken.step != 1:
            return call.node.args, call.node.kwargs
        start = width(labels.ids[: taken.start])
        keys[labels.axis] = slice(start, start + width(labels.ids[taken.start : taken.stop]))
        return (call.node.args[0], tuple(keys)), {}


@handles("Pad")
class ChannelPadding(Handler):
    """`keras.ops.pad`: channels of zeros before and after are channels like any other."""

    def runs_on_slices(self, call: Call) -> bool:
        """No: its arguments speak of channels."""
        return False

    def _pads(self, call: Call) -> tuple[int, int]:
        before, after = call.layer.pad_width[call.inputs[0].axis]
        return int(before), int(after)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels for the added channels."""
        labels = call.inputs[0]
        before, after = self._pads(call)
        if (before or after) and call.layer.mode != "constant":
            reason = f"padding of channels with mode {call.layer.mode!r}"
            call.fix(labels.ids, reason)
            added = call.book.new(before), call.book.new(after)
            call.fix(np.concatenate(added), reason)
        else:
            added = call.book.new(before), call.book.new(after)
        if not before and not after:
            return (labels,)
        ids = np.concatenate([added[0], labels.ids, added[1]])
        if call.written is not None and len(call.written) == len(ids):
            # One operation has one width of padding, however often it is called.
            call.book.tie(call.written[:before], added[0])
            call.book.tie(call.written[len(ids) - after :], added[1])
        return (Labels(ids, labels.axis),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Callable[[Ids], int]) -> dict[str, Any]:
        """As many zeros as are left on each side."""
        labels, ids = call.inputs[0], outputs[0].ids
        before, after = self._pads(call)
        pad_width = [list(pad) for pad in call.layer.pad_width]
        pad_width[labels.axis] = [width(ids[:before]), width(ids[len(ids) - after :])]
        return {"pad_width": pad_width}
