"""`part_of(graph, nodes)`: some nodes of a graph as a graph of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import keras

from tfcompress.graph.layer_graph import LayerGraph, Node, TensorRef, map_refs, readers_of

__all__ = ["part_of"]


def part_of(graph: LayerGraph, nodes: Iterable[str]) -> LayerGraph:
    """Returns some nodes of a graph as a new graph; the old one is not changed.

    Args:
        graph: the whole graph.
        nodes: names of nodes that compute something: at least one.

    Returns:
        A graph of these nodes with the graph's own layers. Its inputs stand for the tensors that enter the part, with
        the same shapes, and its outputs are those that leave it, both in the order of the graph.

    Raises:
        KeyError: a name is not a node of the graph.
        ValueError: no node, an input of the model, or a part whose results nothing reads.
    """
    names = set(nodes)
    if unknown := sorted(names - graph.nodes.keys()):
        raise KeyError(f"Expected names of nodes of {graph.name!r}. Received: {unknown}")
    inside = {name: node for name, node in graph.nodes.items() if name in names}
    entries = sorted(name for name, node in inside.items() if node.is_input)
    if not inside or entries:
        raise ValueError(f"Expected nodes that compute something, at least one. Received: {entries or sorted(names)}")
    coming = list(dict.fromkeys(ref for node in inside.values() for ref in node.inputs if ref.node not in inside))
    read = {ref for name, node in graph.nodes.items() if name not in inside for ref in node.inputs}
    read.update(graph.output_refs)
    going = [ref for node in inside.values() for ref in node.outputs if ref in read]
    if not going:
        raise ValueError(f"Expected a part whose output something reads. Received: {sorted(names)}")
    taken = names | {node.layer_name for node in inside.values()}
    inputs = {ref: _input(ref, graph, taken) for ref in coming}

    def moved(ref: TensorRef) -> TensorRef:
        return TensorRef(inputs[ref].name) if ref in inputs else ref

    part = {node.name: node for node in inputs.values()}
    for node in inside.values():
        args, kwargs = map_refs(moved, (node.args, dict(node.kwargs)))
        part[node.name] = replace(node, args=args, kwargs=kwargs, inputs=tuple(map(moved, node.inputs)))
    tensors = {moved(ref): graph.tensors[ref] for ref in coming}
    tensors |= {ref: graph.tensors[ref] for node in inside.values() for ref in node.outputs}
    ends: list[Any] = [list(map(moved, coming)), going]
    inputs_, outputs = (refs[0] if len(refs) == 1 else refs for refs in ends)
    return LayerGraph(f"{graph.name}_part", part, inputs_, outputs, readers_of(part), tensors)


def _input(ref: TensorRef, graph: LayerGraph, taken: set[str]) -> Node:
    """Returns an input of a part for a tensor of the whole graph; its name is not in `taken`, and is added to it."""
    name = ref.node if not ref.index else f"{ref.node}_{ref.index}"
    while name in taken:
        name += "_input"
    taken.add(name)
    tensor, shape = graph.tensors[ref], graph.shape(ref)
    layer = keras.layers.InputLayer(
        batch_shape=shape, dtype=tensor.dtype, sparse=getattr(tensor, "sparse", False) or None, name=name
    )
    return Node(name, name, layer, (), {}, (), (), (shape,))
