"""The float operations that TensorFlow's profiler counts, layer by layer, beside tfcompress's multiply-adds."""

import dataclasses
import re

import keras
import tensorflow as tf

from tfcompress.costs import CostModel
from tfcompress.graph import ChannelGroups, LayerGraph

# The operations that are sums of products, one float operation for each multiplication and each addition.
MULTIPLY_ADDS = (
    "BatchMatMul",
    "BatchMatMulV2",
    "BatchMatMulV3",
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv3D",
    "DepthwiseConv2dNative",
    "MatMul",
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What both counts say of one model, for one sample.

    Attributes:
        macs: multiply-adds by `tfcompress.cost`.
        half_float_ops: half of the profiler's float operations of the nodes in `MULTIPLY_ADDS`.
        of_functions: the part of it that lies in XLA functions, which the profiler passes over unless it is given them.
        other_float_ops: the profiler's float operations of all other nodes.
        differences: `{layer: (macs, half_float_ops)}` where the two are not equal.
        layers: number of layers and operations that have multiply-adds in both counts.
        uncounted: `{layer: class}` of those that `tfcompress.cost` says it does not count.
        unknown: names of those among them that no handler knows.
        unplaced: nodes with multiply-adds that belong to no layer of the graph.
    """

    macs: int
    half_float_ops: float
    of_functions: float
    other_float_ops: int
    differences: dict
    layers: int
    uncounted: dict
    unknown: list
    unplaced: list


def compare(model):
    """Counts a Functional or Sequential model's multiply-adds by both routes."""
    costs = CostModel(ChannelGroups.of(LayerGraph.from_keras(model)))
    ours = {row.layer: row.macs for row in costs.by_layer() if row.macs}
    theirs, of_functions, other, unplaced = {}, 0.0, 0, []
    known = {item.node.operation.name: layer for layer, item in costs.groups.layers.items()}
    for name, kind, float_ops, in_function in _nodes(_traced(model).graph):
        if kind not in MULTIPLY_ADDS:
            other += float_ops
            continue
        layer = _layer(name, known)
        if layer is None:
            unplaced.append(name)
            continue
        theirs[layer] = theirs.get(layer, 0) + float_ops / 2
        of_functions += in_function * float_ops / 2
    both = {layer: (ours.get(layer, 0), theirs.get(layer, 0)) for layer in {**ours, **theirs}}
    return Comparison(
        macs=costs.total.macs,
        half_float_ops=sum(theirs.values()),
        of_functions=of_functions,
        other_float_ops=other,
        differences={layer: pair for layer, pair in both.items() if pair[0] != pair[1]},
        layers=sum(1 for pair in both.values() if all(pair)),
        uncounted={layer: costs.groups.layers[layer].node.type_name for layer in costs.uncounted},
        unknown=list(costs.unknown),
        unplaced=unplaced,
    )


def multiply_adds(layer, input_shapes):
    """Half of the float operations of one call of a built layer for one sample, in the nodes of `MULTIPLY_ADDS`."""
    inputs = [tf.TensorSpec((1, *shape[1:]), "float32") for shape in input_shapes]
    traced = tf.function(lambda *x: layer(*x)).get_concrete_function(*inputs)
    return sum(ops for _, kind, ops, _ in _nodes(traced.graph) if kind in MULTIPLY_ADDS) // 2


def _traced(model):
    """The model for one sample, as a graph; variables need not be frozen, as the profiler reads shapes only."""
    inputs = [tf.TensorSpec((1, *x.shape[1:]), x.dtype) for x in model.inputs]
    call = tf.function(lambda *x: model(keras.tree.pack_sequence_as(model.input, x), training=False))
    return call.get_concrete_function(*inputs)


def _nodes(graph, scope="", in_function=False):
    """`(name, operation, float operations, whether it lies in a function)` of every node that the profiler counts.

    A node that calls a function (an XLA one: all others are inlined) is nothing to the profiler, so that the function's
    own graph is profiled too.
    """
    kinds = {operation.name: operation for operation in graph.get_operations()}
    builder = tf.compat.v1.profiler.ProfileOptionBuilder
    options = builder(builder.float_operation()).with_empty_output().build()
    stack = [tf.compat.v1.profiler.profile(graph, options=options, cmd="scope")]
    while stack:
        node = stack.pop()
        stack.extend(node.children)
        if node.float_ops:
            yield scope + node.name, kinds[node.name].type, node.float_ops, in_function
    for operation in kinds.values():
        if operation.type in ("PartitionedCall", "StatefulPartitionedCall"):
            called = graph._get_function(operation.get_attr("f").name)
            yield from _nodes(called.graph, f"{scope}{operation.name}/", True)


def _layer(name, known):
    """The layer of a node: the innermost part of its scope that is one, behind the number that Keras adds to each."""
    for part in reversed(name.split("/")):
        layer = known.get(re.sub(r"_\d+$", "", part))
        if layer is not None:
            return layer
    return None
