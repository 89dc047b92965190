"""Operations on several tensors: all elementwise ones, by any name, and concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, Width, handles
from tfcompress.graph.labels import Labels
from tfcompress.graph.layer_graph import TensorRef

__all__ = ["Concatenation", "ElementwiseMerge", "Stacking"]

_layers = keras.layers


def _aligned(call: Call) -> list[tuple[Labels, int, tuple[int | None, ...]]]:
    """Returns for each tensor its labels, their axis in the output, and its shape padded with ones in front.

    Shapes are aligned at their ends: axes are matched by counting from there.
    """
    rank = len(call.node.output_shapes[0])
    aligned = []
    for labels, shape in zip(call.inputs, call.node.input_shapes, strict=True):
        missing = rank - len(shape)
        aligned.append((labels, labels.axis + missing, (1,) * missing + tuple(shape)))
    return aligned


def _is_array(value: Any) -> bool:
    """Whether an argument is an array of constants; a single number, or a setting, has no axes."""
    if value is None or isinstance(value, (TensorRef, str, bool, int, float, complex)):
        return False
    return isinstance(value, (list, tuple, np.ndarray)) or keras.ops.is_tensor(value)


@handles(
    *(_layers.Add, _layers.Subtract, _layers.Multiply, _layers.Average, _layers.Maximum, _layers.Minimum),
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "DivideNoNan", "FloorDivide", "Power", "Mod", "Fmod"),
    *("Maximum", "Minimum", "Fmax", "Fmin", "Arctan2", "Hypot", "Logaddexp", "Logaddexp2", "Nextafter", "Heaviside"),
    *("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "Isclose"),
    *("LogicalAnd", "LogicalOr", "LogicalXor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Where"),
)
class ElementwiseMerge(Handler):
    """Sum, product, comparison, ... of tensors and constants: channels in the same place are tied."""

    keeps_axes = True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Ties the inputs' labels; a tensor with one channel is broadcast, and keeps its channel."""
        tensors = _aligned(call)
        if any(len(labels) == 0 for labels in call.inputs):
            return call.whole(f"{call.node.type_name} of tensors with an unknown number of channels")

        def free(axis: int) -> bool:
            return all(place == axis or shape[axis] == 1 for _, place, shape in tensors)

        main, axis, _ = max(tensors, key=lambda t: (free(t[1]), len(t[0]), sum(s != 1 for s in t[2])))
        reason = "the channels of the tensors that are merged lie on different axes"
        if not free(axis):
            call.fix(main.ids, reason)
        for labels, place, _ in tensors:
            if place != axis:
                call.fix(labels.ids, reason)
            elif len(labels) == len(main):
                call.book.tie(main.ids, labels.ids)
            else:
                call.fix(labels.ids, "one channel is spread over all channels of another tensor")
        size = call.node.output_shapes[0][axis]
        if size is not None and size != len(main):
            call.fix(main.ids, "one channel is spread over all channels of another tensor")
            return (Labels(np.repeat(main.ids, size), axis),)
        return (Labels(main.ids, axis),)

    def _axis_of_constant(self, value: Any, outputs: tuple[Labels, ...], rank: int) -> int | None:
        """Returns the axis of a constant that has an entry per channel."""
        shape = np.shape(value) if isinstance(value, (list, tuple)) else tuple(value.shape)
        axis = outputs[0].axis - rank + len(shape)
        return axis if axis >= 0 and shape[axis] != 1 else None

    def runs_on_slices(self, call: Call) -> bool:
        """Returns False with an array of constants, which is sliced with the channels."""
        leaves = [*call.node.args, *call.node.kwargs.values()]
        return not any(_is_array(leaf) and not _holds_tensors(leaf) for leaf in leaves)

    def arguments(
        self, call: Call, outputs: tuple[Labels, ...], width: Width
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Returns arrays of constants without the entries of removed channels."""
        stays = width.stays(outputs[0].ids)
        rank = len(call.node.output_shapes[0])

        def cut(value: Any) -> Any:
            if stays.all() or not _is_array(value) or _holds_tensors(value):
                return value
            axis = self._axis_of_constant(value, outputs, rank)
            return value if axis is None else np.compress(stays, keras.ops.convert_to_numpy(value), axis=axis)

        return tuple(cut(value) for value in call.node.args), {k: cut(v) for k, v in call.node.kwargs.items()}


def _holds_tensors(value: Any) -> bool:
    return any(isinstance(leaf, TensorRef) for leaf in keras.tree.flatten(value))


@handles(_layers.Concatenate, "Concatenate")
class Concatenation(Handler):
    """Concatenated tensors."""

    keeps_axes = True

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Along the channel axis labels are concatenated; along another axis they are tied."""
        axis = call.layer.axis % len(call.node.output_shapes[0])
        if any(labels.axis == axis for labels in call.inputs):
            ids = [call.input_along(axis, index) for index in range(len(call.inputs))]
            return (Labels(np.concatenate(ids), axis),)
        first = call.inputs[0]
        for index in range(1, len(call.inputs)):
            call.tie(first.ids, call.input_along(first.axis, index), "tensors of unknown width are joined")
        return (first,)


@handles("Stack")
class Stacking(Handler):
    """Tensors of one shape on a new axis."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Ties all labels; the channel axis moves for the new one."""
        first = call.inputs[0]
        for index in range(1, len(call.inputs)):
            call.tie(first.ids, call.input_along(first.axis, index), "tensors of unknown width are stacked")
        new = call.layer.axis % len(call.node.output_shapes[0])
        return (Labels(first.ids, first.axis + (new <= first.axis)),)
