"""Operations that select, add or repeat positions: slices, splits, padding, repetition, rolls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, Width, handles
from tfcompress.graph.labels import Ids, Labels

__all__ = ["ChannelPadding", "Slice", "Split"]


def _axis(call: Call) -> int:
    """Returns the axis that an operation names, counted from the front."""
    return int(call.layer.axis) % len(call.node.input_shapes[0])


class _AlongChannels(Handler):
    """Base of handlers whose arguments depend on channels if they work along the channel axis."""

    def touches(self, call: Call) -> bool:
        """Whether the call works along the channel axis."""
        return _axis(call) == call.inputs[0].axis

    def runs_on_slices(self, call: Call) -> bool:
        """Returns False along the channel axis."""
        return not self.touches(call)

    def one_setting(self, call: Call) -> None:
        """Ties the calls of one operation, which has only one setting, so that they shrink together."""
        if call.earlier is not None and self.touches(call):
            reason = f"calls of one {call.node.type_name} take different channels"
            call.tie(call.earlier[0][0].ids, call.inputs[0].ids, reason)


@handles("GetItem")
class Slice(_AlongChannels):
    """`x[:, ::2, 0, None, 3:]` and the like."""

    def _keys(self, call: Call) -> list[Any]:
        """Returns one key for each axis of the input, and `None` for each new one."""
        key = call.node.args[1] if len(call.node.args) > 1 else call.node.kwargs.get("key")
        keys = list(key) if isinstance(key, (tuple, list)) else [key]  # a list once a model is read from its file
        missing = len(call.node.input_shapes[0]) - sum(k is not None and k is not Ellipsis for k in keys)
        at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
        return keys[:at] + [slice(None)] * missing + keys[at + 1 :]

    def _at(self, call: Call, keys: list[Any]) -> int:
        """Returns the position of the channel axis' key."""
        taking = [i for i, key in enumerate(keys) if key is not None]
        return taking[call.inputs[0].axis]

    def touches(self, call: Call) -> bool:
        """Whether some channels are left out or moved."""
        keys = self._keys(call)
        key = keys[self._at(call, keys)]
        size = len(call.inputs[0])
        return not isinstance(key, slice) or range(*key.indices(size)) != range(size)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Returns the labels of the selected positions; steps tie the labels that they skip."""
        labels, keys = call.inputs[0], self._keys(call)
        at = self._at(call, keys)
        axis = at - sum(isinstance(key, int) for key in keys[:at])
        shape = call.node.output_shapes[0]
        if not self.touches(call):
            return (Labels(labels.ids, axis),)
        if not isinstance(keys[at], slice):
            reason = "one channel is taken out by its number"
            call.fix(labels.ids[[keys[at]]], reason)
            return (call.fixed(shape, len(shape) - 1, reason),)
        taken = range(*keys[at].indices(len(labels)))
        if not taken or taken.step < -1:
            return call.whole("a slice that takes no channels, or steps backwards")
        if taken.step > 1:
            # Whole strides go: then the others' places among the strides stay as they are.
            for start in range(taken.start - taken.start % taken.step, taken[-1] + 1, taken.step):
                call.book.tie_all(labels.ids[start : start + taken.step])
        return (Labels(labels.ids[np.array(taken)], axis),)

    def arguments(
        self, call: Call, outputs: tuple[Labels, ...], width: Width
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Returns keys that select the same channels among the remaining ones."""
        ids, keys = call.inputs[0].ids, self._keys(call)
        at = self._at(call, keys)
        if width.stays(ids).all() or not self.touches(call):
            return call.node.args, call.node.kwargs
        key = keys[at]
        if not isinstance(key, slice):
            keys[at] = width(ids[: key % len(ids)])
        else:
            taken = range(*key.indices(len(ids)))
            if not taken or taken.step < -1:
                return call.node.args, call.node.kwargs
            keys[at] = _shrunk(ids, taken, width)
        return (call.node.args[0], tuple(keys)), {}


def _shrunk(ids: Ids, taken: range, width: Width) -> slice:
    low, high = min(taken[0], taken[-1]), max(taken[0], taken[-1]) + 1
    if taken.step == -1:
        before = width(ids[:low])
        return slice(before + width(ids[low:high]) - 1, before - 1 if before else None, -1)
    offset = low % taken.step
    start = width(ids[: low - offset]) + offset
    # A stride may end before the channel that is taken next: the last one taken is the end.
    return slice(start, start + (width(ids[np.array(taken)]) - 1) * taken.step + 1, taken.step)


@handles("Split", "ArraySplit")
class Split(_AlongChannels):
    """`ops.split(x, sections or points, axis)`: cuts a tensor into several."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Along the channels each part has its own labels; along another axis all have the same."""
        labels = call.inputs[0]
        if not self.touches(call):
            return (labels,) * len(call.node.output_shapes)
        self.one_setting(call)
        ends = np.cumsum([shape[labels.axis] for shape in call.node.output_shapes])
        return tuple(Labels(ids, labels.axis) for ids in np.split(labels.ids, ends[:-1]))

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Equal sections may shrink to unequal ones: then returns the points between them."""
        if not self.touches(call):
            return {}
        widths = [width(labels.ids) for labels in outputs]
        sections = call.layer.indices_or_sections
        if isinstance(sections, int) and len(set(widths)) == 1:
            return {"indices_or_sections": sections}
        return {"indices_or_sections": tuple(int(end) for end in np.cumsum(widths)[:-1])}


@handles("Unstack")
class Unstack(_AlongChannels):
    """`ops.unstack(x, num, axis)`: one tensor for each position along an axis, which vanishes."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """All outputs have the same labels; along the channels these are fixed."""
        labels = call.inputs[0]
        if self.touches(call):
            return call.whole("Unstack gives each channel a tensor of its own")
        return (Labels(labels.ids, labels.axis - (_axis(call) < labels.axis)),) * len(call.node.output_shapes)


@handles("Pad")
class ChannelPadding(_AlongChannels):
    """`keras.ops.pad`: added channels of zeros are channels like any other."""

    def _pads(self, call: Call) -> tuple[int, int]:
        pads = call.layer.pad_width
        pad = pads[call.inputs[0].axis if len(pads) > 1 else 0]
        return int(pad[0]), int(pad[-1])

    def touches(self, call: Call) -> bool:
        """Whether channels are added."""
        return self._pads(call) != (0, 0)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """New labels for the added channels."""
        labels = call.inputs[0]
        before, after = self._pads(call)
        added = call.book.new(before), call.book.new(after)
        if not before and not after:
            return (labels,)
        if call.layer.mode != "constant" or len(call.layer.pad_width) == 1:
            reason = f"padding of channels with mode {call.layer.mode!r}, or of all axes alike"
            call.fix(labels.ids, reason)
            call.fix(np.concatenate(added), reason)
        ids = np.concatenate([added[0], labels.ids, added[1]])
        if call.written is not None and len(call.written) == len(ids):
            # One operation has one width of padding, however often it is called.
            call.book.tie(call.written[:before], added[0])
            call.book.tie(call.written[len(ids) - after :], added[1])
        return (Labels(ids, labels.axis),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns as many zeros as remain on each side."""
        if not self.touches(call) or len(call.layer.pad_width) == 1:
            return {"pad_width": [list(pad) for pad in call.layer.pad_width]}
        labels, ids = call.inputs[0], outputs[0].ids
        before, after = self._pads(call)
        pad_width = [list(pad) for pad in call.layer.pad_width]
        pad_width[labels.axis] = [width(ids[:before]), width(ids[len(ids) - after :])]
        return {"pad_width": pad_width}


@handles("Repeat")
class Repeat(_AlongChannels):
    """`ops.repeat(x, repeats, axis)`: repeats every position, next to itself."""

    def touches(self, call: Call) -> bool:
        """Whether channels are repeated; without an axis, all axes are flattened."""
        return call.layer.axis is None or super().touches(call)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Repeats each label along the channels."""
        labels = call.inputs[0]
        if call.layer.axis is None:
            return call.whole("Repeat without an axis")
        if not self.touches(call):
            return (labels,)
        if np.size(call.layer.repeats) > 1:
            self.one_setting(call)
        return (Labels(np.repeat(labels.ids, np.asarray(call.layer.repeats)), labels.axis),)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Removes the entries of removed channels from a number per channel."""
        repeats = call.layer.repeats
        if call.layer.axis is None or not self.touches(call) or np.size(repeats) == 1:
            return {}
        return {"repeats": np.asarray(repeats)[width.stays(call.inputs[0].ids)].tolist()}


@handles("Tile")
class Tile(Handler):
    """`ops.tile(x, repeats)`: the whole tensor several times."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Repeats all labels along the channels."""
        labels, repeats = call.inputs[0], call.layer.repeats
        repeats = [repeats] if isinstance(repeats, int) else list(repeats)
        rank, wide = len(call.node.input_shapes[0]), len(call.node.output_shapes[0])
        repeats = [1] * (wide - len(repeats)) + repeats
        axis = labels.axis + wide - rank
        return (Labels(np.tile(labels.ids, int(repeats[axis])) if repeats[axis] != 1 else labels.ids, axis),)


@handles("Flip")
class Flip(Handler):
    """`ops.flip(x, axis)`: positions in reverse order."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Reverses the labels along the channels."""
        labels, axis, rank = call.inputs[0], call.layer.axis, len(call.node.input_shapes[0])
        axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        return (Labels(labels.ids[::-1], labels.axis) if labels.axis in [a % rank for a in axes] else labels,)


@handles("Roll")
class Roll(_AlongChannels):
    """`ops.roll(x, shift, axis)`: moves positions; the last ones go to the front."""

    def _shift(self, call: Call) -> int | None:
        """Returns the shift in channels; `None` if it is not known."""
        layer, labels = call.layer, call.inputs[0]
        if not isinstance(layer.axis, int) or not isinstance(layer.shift, int):
            return None
        return layer.shift % max(len(labels), 1) if _axis(call) == labels.axis else 0

    def touches(self, call: Call) -> bool:
        """Whether channels move."""
        return self._shift(call) != 0

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """The labels move with the channels."""
        labels, shift = call.inputs[0], self._shift(call)
        if shift is None:
            return call.whole("Roll along several axes")
        self.one_setting(call)
        return (Labels(np.roll(labels.ids, shift), labels.axis) if shift else labels,)

    def config(self, call: Call, outputs: tuple[Labels, ...], width: Width) -> dict[str, Any]:
        """Returns the number of remaining channels among those that move to the front."""
        shift = self._shift(call)
        return {"shift": width(outputs[0].ids[:shift])} if shift else {}


@handles("DepthToSpace", "SpaceToDepth")
class DepthAndSpace(Handler):
    """Blocks of positions from channels, and back: in `[block * block, channels]` the second factor stays separate."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """To space: labels that become one channel are tied. To depth: labels repeat for every place in a block."""
        (axis,) = self.channel_axes(call.layer, len(call.node.input_shapes[0])) or (0,)
        ids, places = call.input_along(axis), call.layer.block_size**2
        if call.node.type_name == "SpaceToDepth":
            return (Labels(np.tile(ids, places), axis),)
        rows = ids.reshape(places, -1)
        for row in rows[1:]:
            call.book.tie(rows[0], row)
        return (Labels(rows[0], axis),)
