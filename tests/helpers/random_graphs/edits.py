"""Random structural edits of a model, from small numbers: parts that are removed, replaced and reconfigured."""

import itertools

import keras
import numpy as np
from keras import layers

from tfcompress.graph import LayerGraph, restructured
from tfcompress.graph.copying import CannotBeCopied
from tfcompress.plan import Reconfigure, RemoveLayers, ReplaceLayers

__all__ = ["structural_edits"]

_TRIES = 4
# Operations that are only defined, or only finite, for some numbers. What the generator puts before them, as in
# `ops.log1p(ops.square(x))`, stays: without it the original itself would give no numbers to compare.
_PARTIAL = ("Log1p", "Sqrt", "Exp", "Divide", "TrueDivide")


def structural_edits(model, numbers, weights):
    """One edit for each number that is not 0, where it fits the model beside those before it.

    Args:
        model: the model.
        numbers: the remainder by 3 says what is done, the rest where.
        weights: "inherited" or "fresh".
    """
    graph = LayerGraph.from_keras(model)
    edits, taken = [], set()
    for number in filter(None, numbers):
        wanted = (_removed, _replaced, _reconfigured)[number % 3](graph, number // 3, weights)
        for edit in itertools.islice(wanted, _TRIES):
            nodes = {edit.node} if isinstance(edit, Reconfigure) else set(edit.nodes)
            if taken & nodes:
                continue
            try:
                restructured(graph, [*edits, edit], weights)
            except (ValueError, CannotBeCopied):  # it does not fit here
                continue
            edits.append(edit)
            taken |= nodes
            break
    return tuple(edits)


def _from(nodes, number):
    """The nodes that compute something, beginning at one of them."""
    nodes = [node for node in nodes if not node.is_input]
    start = number % max(len(nodes), 1)
    return nodes[start:] + nodes[:start]


def _is_guard(graph, node):
    """Whether the node is what makes an operation defined that is not so everywhere: `square`, or the sum with 1."""
    if isinstance(node.operation, keras.layers.Layer):
        return False
    readers = [graph.nodes[name] for ref in node.outputs for name in graph.readers.get(ref, ())]
    return any(r.type_name in _PARTIAL or (r.type_name == "Add" and _is_guard(graph, r)) for r in readers)


def _removed(graph, number, weights):
    for node in _from(graph.nodes.values(), number):
        if len(node.inputs) == 1 and len(node.outputs) == 1 and not _is_guard(graph, node):
            same = node.input_shapes == node.output_shapes
            if same or (weights == "fresh" and node.name not in {ref.node for ref in graph.output_refs}):
                yield RemoveLayers((node.name,))


def _replaced(graph, number, weights):
    """By a dense layer along the last axis, or by a separable convolution and an activation."""
    for node in _from(graph.nodes.values(), number):
        if len(node.inputs) != 1 or len(node.outputs) != 1 or len(node.output_shapes[0]) < 2:
            continue
        if _is_guard(graph, node):
            continue
        width = node.output_shapes[0][-1]
        if weights == "fresh" and number % 2 and not any(ref.node == node.name for ref in graph.output_refs):
            width += 1
        new = layers.Dense(width, name="new_dense")
        if len(node.input_shapes[0]) == 4 and number % 3:
            first = layers.SeparableConv2D(width, 3, padding="same", name="new_conv")
            new = keras.Sequential([first, layers.Activation("tanh", name="new_act")], name="new")
        if node.input_shapes[0][:-1] == node.output_shapes[0][:-1]:
            yield ReplaceLayers.by((node.name,), new)


def _reconfigured(graph, number, weights):
    rng = np.random.default_rng(number)
    for node in _from(graph.nodes.values(), number):
        config = node.operation.get_config() if isinstance(node.operation, keras.layers.Layer) else {}
        values = {
            "kernel_size": int(rng.integers(1, 4)),
            "strides": int(rng.integers(1, 3)),
            "padding": ("valid", "same")[int(rng.integers(2))],
            "activation": ("tanh", None, "sigmoid")[int(rng.integers(3))],
        }
        names = [name for name in values if name in config]
        if names:
            chosen = {name: values[name] for name in names if rng.random() < 0.5} or {names[-1]: values[names[-1]]}
            yield Reconfigure(node.name, chosen)
