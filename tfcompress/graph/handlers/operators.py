"""Operations of `keras.ops` on one tensor: elementwise functions, reductions, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcompress.graph.handlers.base import Call, Handler, handles
from tfcompress.graph.handlers.elementwise import PassThrough
from tfcompress.graph.labels import Labels

__all__ = ["ElementwiseFunction", "Normalizing", "Reduction", "axes_of"]


def axes_of(layer: Any, rank: int) -> frozenset[int]:
    """Returns the axes that an operation names; all axes if it names none."""
    axis = layer.axis
    if axis is None:
        return frozenset(range(rank))
    return frozenset(int(a) % rank for a in (axis if isinstance(axis, (list, tuple)) else (axis,)))


@handles(
    *("Relu", "Relu6", "Sigmoid", "SparseSigmoid", "Softplus", "Softsign", "SoftShrink", "SparsePlus", "Silu"),
    *("Squareplus", "LogSigmoid", "LeakyRelu", "HardSigmoid", "HardSilu", "Elu", "Selu", "Gelu", "Celu", "TanhShrink"),
    *("HardTanh", "HardShrink", "Threshold", "Absolute", "Abs", "Fabs", "Negative", "Sign", "Signbit", "Reciprocal"),
    *("Exp", "Exp2", "Expm1", "Log", "Log2", "Log10", "Log1p", "Sqrt", "Rsqrt", "Cbrt", "Square", "Erf", "Erfc"),
    *("Erfinv", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "Arcsin", "Arccos", "Arctan", "Arcsinh", "Arccosh"),
    *("Arctanh", "Sinc", "Floor", "Ceil", "Trunc", "Round", "Clip", "NanToNum", "Deg2rad", "Rad2deg", "I0"),
    *("Isnan", "Isinf", "Isfinite", "Isneginf", "Isposinf", "LogicalNot", "BitwiseNot", "BitwiseInvert"),
    *("Cast", "SaturateCast", "Copy", "StopGradient", "ConvertToTensor", "OnesLike", "ZerosLike"),
)
class ElementwiseFunction(PassThrough):
    """A function of each number separately."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Passes labels through; bounds and other settings that are arrays fix them."""
        layer = call.layer
        settings = [*call.node.args[1:], *call.node.kwargs.values()]
        settings += [getattr(layer, name, None) for name in ("x_min", "x_max", "nan", "posinf", "neginf")]
        if any(not isinstance(value, (str, dict)) and np.size(value) > 1 for value in settings if value is not None):
            call.fix(call.inputs[0].ids, f"{call.node.type_name} has a setting for each channel")
        return (call.inputs[0],)


@handles(
    *("Mean", "Sum", "Prod", "Max", "Min", "Amax", "Amin", "Var", "Std", "All", "Any", "CountNonzero", "Logsumexp"),
    *("Argmax", "Argmin", "Median", "Ptp", "Nanmean", "Nansum", "Nanprod", "Nanmax", "Nanmin", "Nanvar", "Nanstd"),
)
class Reduction(Handler):
    """Reduces many numbers to one along some axes."""

    def channel_axes(self, layer: Any, rank: int) -> frozenset[int] | None:
        """Returns the axes that are not reduced."""
        return frozenset(range(rank)) - axes_of(layer, rank)

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Labels move as axes vanish; a reduction over the channels fixes them: the result would change."""
        labels, rank = call.inputs[0], len(call.node.input_shapes[0])
        axes = axes_of(call.layer, rank)
        if labels.axis in axes:
            return call.whole(f"{call.node.type_name} runs over the channels")
        gone = 0 if getattr(call.layer, "keepdims", False) else sum(axis < labels.axis for axis in axes)
        return (Labels(labels.ids, labels.axis - gone),)


@handles("Softmax", "LogSoftmax", "Sparsemax", "Cumsum", "Cumprod")
class Normalizing(PassThrough):
    """Softmax, cumulative sums: each number depends on the others along one or several axes."""

    def flow(self, call: Call) -> tuple[Labels, ...]:
        """Passes labels through; fixes them if it runs over the channels."""
        labels, rank = call.inputs[0], len(call.node.input_shapes[0])
        if labels.axis in axes_of(call.layer, rank):
            return call.whole(f"{call.node.type_name} runs over the channels")
        return (labels,)
