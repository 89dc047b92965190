"""The interpreter of a graph: calls operations one after the other on tensors of any kind.

The only place that does, beside `tfcompress.rewrite.apply`, which calls new operations where the old ones stand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras

from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, map_refs

__all__ = ["Tensor", "Values", "call", "outputs_of", "run"]

Tensor = Callable[[TensorRef], Any]
"""The tensor that stands for a reference."""

Values = dict[TensorRef, Any]


def call(node: Node, tensor: Tensor, **settings: Any) -> list[Any]:
    """The outputs of one node, flat.

    Args:
        node: is called as its model calls it.
        tensor: gives what the node reads.
        settings: keyword arguments that take precedence over the node's own, such as `training=False`.
    """
    args, kwargs = map_refs(tensor, (node.args, dict(node.kwargs)))
    outputs: list[Any] = keras.tree.flatten(node.operation(*args, **{**kwargs, **settings}))
    return outputs


def run(
    graph: LayerGraph,
    inputs: Sequence[Any],
    step: Callable[[Node, Tensor], Sequence[Any]] = call,
    without: Collection[str] = (),
) -> Values:
    """Every tensor of a graph by its reference, for one batch. It builds nothing.

    Args:
        graph: the graph of a model.
        inputs: the input tensors in the order of `graph.input_refs`.
        step: gives the outputs of a node from the tensors that it reads.
        without: names of nodes that are passed over: what the first layer of such a part reads stands for what the
            part would have given.
    """
    values: Values = dict(zip(graph.input_refs, inputs, strict=True))
    for node in graph.nodes.values():
        if node.is_input:
            continue
        if node.name in without:
            values.update(dict.fromkeys(node.outputs, values[node.inputs[0]]))
        else:
            values.update(zip(node.outputs, step(node, values.__getitem__), strict=True))
    return values


def outputs_of(graph: LayerGraph, values: Values) -> Any:
    """The outputs of a model in its own nested structure, among the tensors that `run` gives."""
    return map_refs(values.__getitem__, graph.outputs)
