"""The interpreter of a graph: calls operations in sequence on tensors of any kind.

Nothing else does this, except `tfcompress.rewrite.apply`, which calls new operations in place of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras

from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, map_refs

__all__ = ["Tensor", "Values", "call", "outputs_of", "run"]

Tensor = Callable[[TensorRef], Any]
"""The tensor for a reference."""

Values = dict[TensorRef, Any]


def call(node: Node, tensor: Tensor, **settings: Any) -> list[Any]:
    """Returns the outputs of one node, flat.

    Args:
        node: the node to call, as in its model.
        tensor: returns the node's inputs.
        settings: keyword arguments that override the node's own, such as `training=False`.
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
    """Returns every tensor of a graph by its reference, for one batch, without building anything.

    Args:
        graph: the graph of a model.
        inputs: the input tensors in the order of `graph.input_refs`.
        step: computes the outputs of a node from its input tensors.
        without: names of nodes to skip: the input of the first layer of such a part is used as the part's
            output.
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
    """Returns the outputs of a model in its own nested structure, from the tensors of `run`."""
    return map_refs(values.__getitem__, graph.outputs)
