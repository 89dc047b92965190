"""Whether a network runs after one edit, judged by the shape functions of Keras' layers: nothing is built or called."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from tfcompress.graph import LayerGraph, TensorRef
from tfcompress.graph.layer_graph import Node
from tfcompress.graph.regions import calls_of
from tfcompress.plan import Reconfigure, RemoveLayers

__all__ = ["runs_after"]

_Shape = tuple[int | None, ...]

# Of these what a layer gives follows from its settings and from what it reads, and fresh weights adapt to any of it.
_ONE_INPUT = frozenset(
    getattr(layers, name + dimensions)
    for names, suffixes in (
        (("Conv", "MaxPooling", "AveragePooling", "ZeroPadding"), ("1D", "2D", "3D")),
        (("GlobalMaxPooling", "GlobalAveragePooling", "SpatialDropout"), ("1D", "2D", "3D")),
        (("DepthwiseConv", "SeparableConv"), ("1D", "2D")),
        (("Dense", "BatchNormalization", "ReLU", "LeakyReLU", "ELU", "Activation", "Dropout", "Flatten"), ("",)),
    )
    for name in names
    for dimensions in suffixes
)
_MERGES = frozenset(
    getattr(layers, name) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
)


def runs_after(graph: LayerGraph, edit: RemoveLayers | Reconfigure) -> bool | None:
    """Returns whether a network with fresh weights runs after an edit; `None` if its layers do not tell.

    Args:
        graph: graph of the network.
        edit: the removal of one node, or new settings for one.
    """
    name = edit.nodes[0] if isinstance(edit, RemoveLayers) else edit.node
    calls, changed = calls_of(graph), dict[TensorRef, _Shape]()
    for node in graph.nodes.values():
        if node.name != name and not any(ref in changed for ref in node.inputs):
            continue
        if not _says(node) or len(calls[node.layer_name]) > 1:
            return None
        read = [changed.get(ref, graph.shape(ref)) for ref in node.inputs]
        if len({len(shape) for shape in read}) > 1:  # broadcast
            return None
        if node.name == name and isinstance(edit, RemoveLayers):
            given: _Shape | None = read[0] if len(set(node.inputs)) == 1 else None
        else:
            config = dict(edit.config) if node.name == name and isinstance(edit, Reconfigure) else {}
            given = _given(node, read, config)
        if given is None:
            return False
        if given != graph.shape(node.outputs[0]):
            changed[node.outputs[0]] = given
    return not any(ref in changed for ref in graph.output_refs)


def _says(node: Node) -> bool:
    operation = node.operation
    grouped = getattr(operation, "groups", 1) != 1
    return type(operation) in _MERGES or (type(operation) in _ONE_INPUT and not grouped and len(node.inputs) == 1)


def _given(node: Node, read: list[_Shape], config: dict[str, Any]) -> _Shape | None:
    """Returns the output shape of a layer; `None` if it cannot read these shapes."""
    operation: keras.Layer = node.operation
    if config:
        operation = type(operation).from_config({**operation.get_config(), **config})
    if isinstance(operation, layers.Concatenate):  # of which Keras compares nothing
        axis = operation.axis % len(read[0])
        if len({(*shape[:axis], *shape[axis + 1 :]) for shape in read}) > 1:
            return None
    try:
        given = tuple(operation.compute_output_shape(read if type(operation) in _MERGES else read[0]))
    except ValueError:
        return None
    return given if all(size is None or size > 0 for size in given) else None
