"""Counts the multiply-adds of a call without a handler, in TensorFlow's graph of it.

Nothing is run: the operation is called on placeholders, as Keras itself does when a model is built, and the matrix
products and convolutions for its outputs are counted by their shapes. So layers that contain layers, cells in an
`RNN` and a user's own layers are counted, whatever their classes.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcompress.graph.layer_graph import LayerGraph, Node
from tfcompress.graph.run import call

__all__ = ["Arithmetic", "arithmetic_of"]

# Operations that read a tensor's shape or kind alone: what makes that tensor is not computed for their sake.
_SHAPE_ONLY = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
_CALLS = {"PartitionedCall": "f", "StatefulPartitionedCall": "f"}
_LOOPS = {"While": "body", "StatelessWhile": "body"}
_BRANCHES = {"If": ("then_branch", "else_branch"), "StatelessIf": ("then_branch", "else_branch")}
# What may compute anything, or has multiply-adds of which the shapes do not tell.
_OPAQUE = (
    "PyFunc",
    "EagerPyFunc",
    "Cudnn",
    "Sparse",
    "CSR",
    "XlaDot",
    "XlaConv",
    "Fft",
    "FFT",
    "Case",
    "StatelessCase",
)
_ELEMENTWISE = frozenset({"Mul", "SquaredDifference", "Sub"})
_SAME_NUMBERS = frozenset({"Identity", "Cast", "Reshape", "ExpandDims", "StridedSlice", "Transpose", "BroadcastTo"})


@dataclass(frozen=True)
class Arithmetic:
    """The multiply-adds of one call, for one sample.

    Attributes:
        macs: the counted multiply-adds.
        is_known: whether these are all. False if the call cannot be traced, has unknown sizes or an unknown number of
            steps, runs code that TensorFlow does not see, or multiplies its weights elementwise.
    """

    macs: int
    is_known: bool


_UNKNOWN = Arithmetic(0, False)
_found: weakref.WeakKeyDictionary[Any, dict[Any, Arithmetic]] = weakref.WeakKeyDictionary()


def arithmetic_of(node: Node, graph: LayerGraph) -> Arithmetic:
    """Counts the multiply-adds of a node's call; once for each operation and arguments."""
    dtypes = tuple(str(graph.tensors[ref].dtype) for ref in node.inputs)
    key = (node.input_shapes, dtypes, repr((node.args, node.kwargs)))
    known = _found.setdefault(node.operation, {})
    if key not in known:
        known[key] = _traced(node, dtypes)
    return known[key]


def _traced(node: Node, dtypes: tuple[str, ...]) -> Arithmetic:
    batches = {shape[0] for shape in node.input_shapes if shape and shape[0] is not None}
    batch = math.prod(batches) if len(batches) <= 1 else 0
    if any(size is None for shape in node.input_shapes for size in shape[1:]) or not batch:
        return _UNKNOWN
    trace = tf.__internal__.FuncGraph("counted")
    try:
        with keras.StatelessScope(collect_losses=True), trace.as_default():  # assigned variables and losses are dropped
            placeholders = {
                ref: tf.compat.v1.placeholder(dtype, [shape[0] or 1, *shape[1:]] if shape else [])
                for ref, shape, dtype in zip(node.inputs, node.input_shapes, dtypes, strict=True)
            }
            outputs = call(node, placeholders.__getitem__)
        tensors = [tensor for tensor in outputs if tf.is_tensor(tensor)]
        count = _Count()
        count.add([tensor.op for tensor in tensors], 1)
    except Exception:  # whatever a user's code raises where it is not called with numbers
        return _UNKNOWN
    largest = max((math.prod(weight.shape) for weight in getattr(node.operation, "weights", ())), default=0)
    by_elements = 0 < largest <= count.elements and count.macs < largest
    return Arithmetic(count.macs // batch, count.is_known and not by_elements)


class _Count:
    """The multiply-adds of some operations, including those inside functions and loops."""

    def __init__(self) -> None:
        self.macs = 0
        self.elements = 0  # of the largest elementwise product with a weight
        self.is_known = True

    def add(self, ends: list[Any], times: int) -> None:
        """Adds `times` times everything that `ends` are computed from."""
        pending, seen = list(ends), set(map(id, ends))
        while pending:
            operation = pending.pop()
            self._one(operation, times)
            if operation.type in _SHAPE_ONLY:
                continue
            for tensor in operation.inputs:
                if id(tensor.op) not in seen:
                    seen.add(id(tensor.op))
                    pending.append(tensor.op)

    def _one(self, operation: Any, times: int) -> None:
        kind = operation.type
        if kind in _CALLS:
            self._function(operation, _CALLS[kind], times)
        elif kind in _LOOPS:
            steps = _steps(operation.inputs[1])
            self.is_known &= steps is not None
            self._function(operation, _LOOPS[kind], times * (steps or 0))
        elif kind in _BRANCHES:
            counts = []
            for name in _BRANCHES[kind]:
                counts.append(_Count())
                counts[-1]._function(operation, name, times)
            self.macs += max(count.macs for count in counts)
            self.is_known &= all(count.is_known for count in counts)
        elif kind in _ELEMENTWISE and any(map(_is_weight, operation.inputs)):
            self.elements = max(self.elements, _size(operation.outputs[0]) or 0)
        elif kind.startswith(_OPAQUE):
            self.is_known = False
        elif kind in _PRODUCTS:
            macs = _PRODUCTS[kind](operation)
            self.is_known &= macs is not None
            self.macs += times * (macs or 0)

    def _function(self, operation: Any, attribute: str, times: int) -> None:
        body = operation.graph._get_function(operation.get_attr(attribute).name).graph
        self.add([tensor.op for tensor in body.outputs], times)


def _is_weight(tensor: Any) -> bool:
    while tensor.op.type in _SAME_NUMBERS:
        tensor = tensor.op.inputs[0]
    return bool(tensor.op.type == "ReadVariableOp")


def _steps(tensor: Any) -> int | None:
    """Returns the greatest number of steps of a loop; `None` if it is not known beforehand."""
    if tensor.op.type == "Max":  # as Keras' recurrent layers have it: over the length alone
        tensor = tensor.op.inputs[0]
    value = tf.get_static_value(tensor)
    return None if value is None or np.max(value) < 0 else int(np.max(value))


def _size(tensor: Any) -> int | None:
    size = tensor.shape.num_elements()
    return None if size is None else int(size)


def _product(*sizes: int | None) -> int | None:
    return None if any(size is None for size in sizes) else math.prod(size for size in sizes if size is not None)


def _matmul(transposed: str) -> Any:
    def count(operation: Any) -> int | None:
        shape = operation.inputs[0].shape
        return _product(_size(operation.outputs[0]), shape[-2 if operation.get_attr(transposed) else -1])

    return count


def _convolution(operation: Any) -> int | None:
    return _product(_size(operation.outputs[0]), *operation.inputs[1].shape[:-1])


def _depthwise(operation: Any) -> int | None:
    return _product(_size(operation.outputs[0]), *operation.inputs[1].shape[:-2])


def _transposed(operation: Any) -> int | None:
    """Returns the MACs for a kernel `[..., filters, inputs]`; a transposed convolution reads the third input."""
    return _product(_size(operation.inputs[2]), *operation.inputs[1].shape[:-1])


def _einsum(operation: Any) -> int | None:
    """Returns output elements times the sizes of the summed axes."""
    if len(operation.inputs) != 2:
        return 0
    terms, _, output = operation.get_attr("equation").decode().partition("->")
    sizes: dict[str, int | None] = {}
    for term, tensor in zip(terms.split(","), operation.inputs, strict=True):
        before, dots, after = term.partition("...")
        if tensor.shape.rank is None:
            return None
        sizes.update(zip(before, tensor.shape, strict=False))
        if dots and after:
            sizes.update(zip(after, tensor.shape[-len(after) :], strict=True))
    return _product(_size(operation.outputs[0]), *(size for label, size in sizes.items() if label not in output))


_PRODUCTS: dict[str, Any] = {
    "MatMul": _matmul("transpose_a"),
    "BatchMatMul": _matmul("adj_x"),
    "BatchMatMulV2": _matmul("adj_x"),
    "BatchMatMulV3": _matmul("adj_x"),
    "Conv2D": _convolution,
    "Conv3D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "Conv3DBackpropInputV2": _transposed,
    "Einsum": _einsum,
}
